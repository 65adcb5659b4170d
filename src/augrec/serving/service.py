"""Recommendations and explanations, independent of HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from augrec.groups.base import Strategy
from augrec.serving.answer_log import AnswerLog
from augrec.serving.batching import Ranker
from augrec.serving.config import ServingConfig
from augrec.serving.deployer import Deployer
from augrec.serving.event_log import EventLog
from augrec.serving.group_lists import GroupList, group_list
from augrec.serving.metrics import Metrics
from augrec.serving.model import Model, Role
from augrec.serving.online_features import OnlineFeatures
from augrec.serving.ranking import NO_POSITIONS, Found, Query, attribute_table, positions
from augrec.serving.rollout import Deployment, side
from augrec.serving.schemas import Filters, Why
from augrec.serving.user_states import UserState, UserStates

log = logging.getLogger(__name__)

_NO_USER = UserState()


class NothingToServe(Exception):
    """There is neither a model nor data for a fallback."""


class UnknownGroup(Exception):
    """The served version knows no group of the id in the request."""


class UnknownModel(Exception):
    """The model named in the request does not exist."""


@dataclass(slots=True)
class ResolvedRequest:
    """A request with its model and everything that is known about the user.

    Attributes:
        model, role: the model that answers, fixed for the whole request.
        history: item ids, oldest first.
        attributes: attributes, features and context of the user.
        features: source of the features.
        degraded: what is missing in the answer; see `Recommendations.degraded`.
    """

    model: Model
    role: Role
    user_id: str | None
    history: list[str]
    attributes: dict[str, Any]
    features: Literal["online", "none", "unavailable"]
    degraded: list[str] = field(default_factory=list)


class Service:
    """Answers requests with the parts of the service."""

    def __init__(
        self,
        config: ServingConfig,
        *,
        deployer: Deployer,
        ranker: Ranker,
        users: UserStates,
        events: EventLog,
        features: OnlineFeatures,
        answers: AnswerLog,
        metrics: Metrics,
    ) -> None:
        self.config, self.deployer, self.ranker, self.users = config, deployer, ranker, users
        self.events, self.features, self.answers, self.metrics = events, features, answers, metrics
        self._shadows: set[asyncio.Task[None]] = set()

    async def resolve(
        self,
        user_id: str | None,
        history: list[str] | None,
        context: dict[str, Any],
        named: str | None,
    ) -> ResolvedRequest:
        """Choose the model, and collect history and attributes of the user.

        Raises:
            NothingToServe: there is neither a model nor a fallback.
            UnknownModel: there is no model `named`.
        """
        deployment = self.deployer.deployment
        model, role = self._choose(deployment, user_id, named)
        state, features = _NO_USER, None
        source: Literal["online", "none", "unavailable"] = "none"
        if user_id is not None:
            state = await self.users.get(user_id)
            if self.features.state != "off":
                features = await self.features.get(user_id)
                source = "online" if features is not None else "unavailable"
        full_history = [*state.items, *(history or ())]
        attributes = {**state.attributes, **(features or {}), **context}
        resolved = ResolvedRequest(model, role, user_id, full_history, attributes, source)
        if source == "unavailable":
            resolved.degraded.append("features")
        if role == "fallback":
            resolved.degraded.append("model")
        return resolved

    def _choose(
        self, deployment: Deployment, user_id: str | None, named: str | None
    ) -> tuple[Model, Role]:
        if named == "challenger" or (
            named is None and side(user_id, self.config.rollout) == "challenger"
        ):
            if deployment.challenger is not None:
                return deployment.challenger, "challenger"
            if named is not None:
                raise UnknownModel("there is no challenger")
        if deployment.champion is not None:
            return deployment.champion, "champion"
        if named is not None:
            raise UnknownModel(f"there is no {named}")
        if deployment.fallback is not None:
            return deployment.fallback, "fallback"
        raise NothingToServe

    async def recommend(
        self, resolved: ResolvedRequest, filters: Filters, k: int
    ) -> tuple[list[str], list[float]]:
        """Items and scores, best first; popular items if the model fails or is too slow."""
        query = self._query(resolved, filters, k)
        try:
            async with asyncio.timeout(self.config.timeout_s):
                found = await self.ranker.rank(resolved.model, query)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                log.exception("version %s failed to recommend", resolved.model.version)
            resolved.degraded.append("popular")
            found = self._popular(resolved.model, query)
        items, scores = resolved.model.ids[found[0]].tolist(), found[1].tolist()
        if not items:
            items = self._unranked(resolved, filters, k)
            scores = [0.0] * len(items)
        return items, scores

    async def recommend_group(
        self,
        members: Sequence[ResolvedRequest],
        strategy: Strategy,
        filters: Filters,
        k: int,
        *,
        own: Sequence[str] = (),
        reasons: bool,
    ) -> GroupList:
        """One list for the members of a group, by the model of the first; popular items, with which
        nobody is said to be content, if the model fails or is too slow."""
        first = members[0]
        queries = [self._query(one, filters, k) for one in members]
        model, types = first.model, self.ranker.attribute_types
        try:
            async with asyncio.timeout(self.config.timeout_s):
                found = await self.ranker.call(
                    model,
                    lambda: group_list(model, strategy, queries, types, own=own, reasons=reasons),
                )
        except Exception as error:
            if not isinstance(error, TimeoutError):
                log.exception("version %s failed to recommend to a group", model.version)
            first.degraded.append("popular")
            everything = [item for one in queries for item in one.history]
            places, values = self._popular(model, replace(queries[0], history=everything))
            ids = model.ids[places].tolist()
            return GroupList(ids, values.tolist(), [0.0] * len(members), None)
        listed: GroupList = found
        if not listed.items:
            first.history = [item for one in members for item in one.history]
            items = self._unranked(first, filters, k)
            return GroupList(items, [0.0] * len(items), listed.satisfaction, None)
        return listed

    def shadow(self, resolved: ResolvedRequest, filters: Filters, k: int, answer_id: str) -> None:
        """In shadow mode, ask the challenger in the background unless the ranker is busy; its
        answer is only logged."""
        challenger = self.deployer.deployment.challenger
        enabled = (
            self.config.rollout.mode == "shadow"
            and resolved.role == "champion"
            and challenger is not None
        )
        if (
            not enabled
            or challenger is None
            or self.ranker.waiting() > 1
            or len(self._shadows) > 16
        ):
            return
        task = asyncio.get_running_loop().create_task(
            self._shadow(challenger, resolved, filters, k, answer_id)
        )
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(
        self, challenger: Model, resolved: ResolvedRequest, filters: Filters, k: int, answer_id: str
    ) -> None:
        other = ResolvedRequest(
            challenger,
            "challenger",
            resolved.user_id,
            resolved.history,
            resolved.attributes,
            resolved.features,
        )
        items, scores = await self.recommend(other, filters, k)
        self.log_answer(other, answer_id, items, scores, kind="shadow", filters=filters)

    def log_answer(
        self,
        resolved: ResolvedRequest,
        answer_id: str,
        items: list[str],
        scores: list[float],
        *,
        kind: str,
        filters: Filters,
    ) -> None:
        """Log an answer; `kind` is "assigned", "named", "group", "similar" or
        "shadow"."""
        if not self.answers.sampled(answer_id):
            return
        self.answers.add(
            {
                "answer_id": answer_id,
                "at": datetime.now(UTC),
                "kind": kind,
                "user_id": resolved.user_id,
                "role": resolved.role,
                "version": resolved.model.version,
                "digest": resolved.model.digest,
                "items": items,
                "scores": scores,
                "history": resolved.history,
                "known": resolved.attributes,
                "features": resolved.features,
                "filters": filters.model_dump(exclude_defaults=True),
                "degraded": resolved.degraded,
            }
        )

    async def explain(
        self, resolved: ResolvedRequest, items: list[str], top: int
    ) -> dict[str, list[Why]]:
        """{item: reasons}, strongest first, see `Recommender.explain`; empty if it takes too
        long."""
        model = resolved.model
        if not items:
            return {}
        if "popular" in resolved.degraded:  # not ranked by the model
            share, places = model.recommender.popularity, model.places
            return {
                item: [("popularity", None, float(share[places[item]]))]
                for item in items
                if item in places
            }

        def explained() -> pl.DataFrame:
            user_features = attribute_table([resolved.attributes], self.ranker.attribute_types)
            histories = pl.Series([resolved.history], dtype=pl.List(pl.String))
            return model.recommender.explain(
                histories, np.array([items], dtype=str), user_features=user_features, top=top
            )

        try:
            async with asyncio.timeout(self.config.timeout_s):
                table = await self.ranker.call(model, explained)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                log.exception("version %s failed to explain", model.version)
            resolved.degraded.append("reasons")
            return {}
        reasons: dict[str, list[Why]] = {}
        for _, item, kind, cause, contribution in table.iter_rows():
            reasons.setdefault(item, []).append((kind, cause, contribution))
        return reasons

    def _query(self, resolved: ResolvedRequest, filters: Filters, k: int) -> Query:
        model, among = resolved.model, None
        if filters.categories is not None:
            among = _members(model, filters.categories)
        exclude = [positions(model.places, filters.exclude_items)] if filters.exclude_items else []
        if filters.exclude_categories:
            exclude.append(_members(model, filters.exclude_categories))
        without = np.concatenate(exclude) if exclude else NO_POSITIONS
        return Query(resolved.history, k, without, among, filters.exclude_seen, resolved.attributes)

    def _popular(self, model: Model, query: Query) -> Found:
        """The most popular items that the filters allow, without the model."""
        without = set(query.exclude.tolist())
        if query.exclude_seen:
            without.update(positions(model.places, query.history).tolist())
        allowed = None if query.among is None else set(query.among.tolist())
        found = [
            place
            for place in model.popular.tolist()
            if place not in without and (allowed is None or place in allowed)
        ][: query.k]
        places = np.array(found, np.int64)
        return places, model.recommender.popularity[places]

    def _unranked(self, resolved: ResolvedRequest, filters: Filters, k: int) -> list[str]:
        """Allowed items that the model does not know, for when it knows none: the list must not be
        empty."""
        seen = set(resolved.history) if filters.exclude_seen else set()
        found: list[str] = []
        for item in resolved.model.metadata.allowed(filters):
            if item not in seen:
                found.append(item)
                if len(found) == k:
                    break
        if found:
            resolved.degraded.append("unranked")
        return found


def _random_ids() -> Iterator[str]:
    while True:  # a thousand at a time: a system call for each would cost more than ranking
        drawn = os.urandom(16 * 1024).hex()
        yield from (drawn[start : start + 32] for start in range(0, len(drawn), 32))


_ids = _random_ids()


def new_answer_id() -> str:
    """A random id that cannot be guessed, 32 hexadecimal digits. Not thread-safe."""
    return next(_ids)


def _members(model: Model, categories: list[str]) -> np.ndarray:
    found = [model.members[name] for name in categories if name in model.members]
    return np.concatenate(found) if found else NO_POSITIONS
