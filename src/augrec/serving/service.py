"""What the service does, apart from HTTP: recommend, explain, take events in."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.features.live_features import advance
from augrec.serving.answer_log import AnswerLog
from augrec.serving.batching import Ranker
from augrec.serving.config import ServingConfig
from augrec.serving.deployer import Deployer
from augrec.serving.event_log import EventLog, StoredEvent
from augrec.serving.metrics import Metrics
from augrec.serving.model import Model, Role
from augrec.serving.online_features import OnlineFeatures
from augrec.serving.ranking import NONE, Found, Query, known_table, positions
from augrec.serving.rollout import Deployment, side
from augrec.serving.schemas import Event, Filters, Why
from augrec.serving.user_states import UserState, UserStates

log = logging.getLogger(__name__)

_AHEAD_US = 5 * 60 * 1_000_000
_NOBODY = UserState()


class NothingToServe(Exception):
    """There is neither a model nor data to answer from."""


class UnknownModel(Exception):
    """What was asked for by name is not there."""


@dataclass(slots=True)
class ResolvedRequest:
    """A request for recommendations as far as it has been looked into.

    Attributes:
        model, role: who answers; the same from the request's start to its end.
        history: item ids, oldest first.
        known: attributes, features and context.
        features: where the features came from.
        degraded: what was missing.
    """

    model: Model
    role: Role
    user_id: str | None
    history: list[str]
    known: dict[str, Any]
    features: Literal["online", "none", "unavailable"]
    degraded: list[str] = field(default_factory=list)


class Service:
    """The parts, put together."""

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
        event_names: tuple[str, ...],
    ) -> None:
        self.config, self.deployer, self.ranker, self.users = config, deployer, ranker, users
        self.events, self.features, self.answers, self.metrics = events, features, answers, metrics
        self._event_names = frozenset(event_names)
        self._shadows: set[asyncio.Task[None]] = set()

    # who answers, and from what

    async def resolve(
        self,
        user_id: str | None,
        history: list[str] | None,
        context: dict[str, Any],
        named: str | None,
    ) -> ResolvedRequest:
        """Choose the model and collect what is known of the user.

        Raises:
            NothingToServe: there is nothing to answer from.
            UnknownModel: the model asked for by name is not there.
        """
        deployment = self.deployer.deployment
        model, role = self._choose(deployment, user_id, named)
        state, features = _NOBODY, None
        kind: Literal["online", "none", "unavailable"] = "none"
        if user_id is not None:
            state = await self.users.get(user_id)
            if self.features.state != "off":
                features = await self.features.get(user_id)
                kind = "online" if features is not None else "unavailable"
        past = [*state.items, *(history or ())]
        asked = ResolvedRequest(
            model, role, user_id, past, {**state.attributes, **(features or {}), **context}, kind
        )
        if kind == "unavailable":
            asked.degraded.append("features")
        if role == "fallback":
            asked.degraded.append("model")
        return asked

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

    # recommendations

    async def recommend(
        self, asked: ResolvedRequest, filters: Filters, k: int
    ) -> tuple[list[str], list[float]]:
        """The best items, never fewer than there are; popular ones where the model does not answer
        in time."""
        query = self._query(asked.model, asked.history, asked.known, filters, k)
        try:
            async with asyncio.timeout(self.config.timeout_s):
                found = await self.ranker.rank(asked.model, query)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                log.exception("version %s could not answer", asked.model.version)
            asked.degraded.append("popular")
            found = self._popular(asked.model, query)
        items, scores = asked.model.ids[found[0]].tolist(), found[1].tolist()
        if not items:
            items = self._unranked(asked, filters, k)
            scores = [0.0] * len(items)
        return items, scores

    def shadow(self, asked: ResolvedRequest, filters: Filters, k: int, answer_id: str) -> None:
        """Ask the challenger too, if that is wanted and there is time for it; its answer is only
        logged."""
        challenger = self.deployer.deployment.challenger
        wanted = (
            self.config.rollout.mode == "shadow"
            and asked.role == "champion"
            and challenger is not None
        )
        if not wanted or challenger is None or self.ranker.waiting() > 1 or len(self._shadows) > 16:
            return
        task = asyncio.get_running_loop().create_task(
            self._shadow(challenger, asked, filters, k, answer_id)
        )
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(
        self, challenger: Model, asked: ResolvedRequest, filters: Filters, k: int, answer_id: str
    ) -> None:
        other = ResolvedRequest(
            challenger, "challenger", asked.user_id, asked.history, asked.known, asked.features
        )
        items, scores = await self.recommend(other, filters, k)
        self.log_answer(other, answer_id, items, scores, kind="shadow", filters=filters)

    def log_answer(
        self,
        asked: ResolvedRequest,
        answer_id: str,
        items: list[str],
        scores: list[float],
        *,
        kind: str,
        filters: Filters,
    ) -> None:
        """Keep what was shown; `kind` is "assigned", "named" or "shadow"."""
        if not self.answers.sampled(answer_id):
            return
        self.answers.add(
            {
                "answer_id": answer_id,
                "at": datetime.now(UTC),
                "kind": kind,
                "user_id": asked.user_id,
                "role": asked.role,
                "version": asked.model.version,
                "digest": asked.model.digest,
                "items": items,
                "scores": scores,
                "history": asked.history,
                "known": asked.known,
                "features": asked.features,
                "filters": filters.model_dump(exclude_defaults=True),
                "degraded": asked.degraded,
            }
        )

    async def explain(
        self, asked: ResolvedRequest, items: list[str], top: int
    ) -> dict[str, list[Why]]:
        """{item: reasons}, the strongest first, see `Recommender.explain`; nothing where it takes
        too long."""
        model = asked.model
        if not items:
            return {}
        if "popular" in asked.degraded:  # the model had no part in it
            share, places = model.recommender.popularity, model.places
            return {
                item: [("popularity", None, float(share[places[item]]))]
                for item in items
                if item in places
            }

        def explained() -> pl.DataFrame:
            known = known_table([asked.known], self.ranker.kinds)
            histories = pl.Series([asked.history], dtype=pl.List(pl.String))
            return model.recommender.explain(
                histories, np.array([items], dtype=str), known=known, top=top
            )

        try:
            async with asyncio.timeout(self.config.timeout_s):
                table = await self.ranker.call(model, explained)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                log.exception("version %s could not explain", model.version)
            asked.degraded.append("reasons")
            return {}
        reasons: dict[str, list[Why]] = {}
        for _, item, kind, because, contribution in table.iter_rows():
            reasons.setdefault(item, []).append((kind, because, contribution))
        return reasons

    def _query(
        self, model: Model, history: list[str], known: dict[str, Any], filters: Filters, k: int
    ) -> Query:
        among = None
        if filters.categories is not None:
            among = _members(model, filters.categories)
        exclude = [positions(model.places, filters.exclude_items)] if filters.exclude_items else []
        if filters.exclude_categories:
            exclude.append(_members(model, filters.exclude_categories))
        without = np.concatenate(exclude) if exclude else NONE
        return Query(history, k, without, among, filters.exclude_seen, known)

    def _popular(self, model: Model, query: Query) -> Found:
        """The most popular items that the filters allow, without asking the model."""
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

    def _unranked(self, asked: ResolvedRequest, filters: Filters, k: int) -> list[str]:
        """Items that the model does not know, where it has none left: new ones must not leave a
        shop's page empty."""
        seen = set(asked.history) if filters.exclude_seen else set()
        found: list[str] = []
        for item in asked.model.catalogue.allowed(filters):
            if item not in seen:
                found.append(item)
                if len(found) == k:
                    break
        if found:
            asked.degraded.append("unranked")
        return found

    # events

    async def take_in(self, events: list[Event]) -> tuple[int, int]:
        """Keep events on disk, then let them count. Returns how many were new, and how many known
        already.

        Raises:
            InputError: an event is of no known kind or lies in the future; none of them is kept.
            TransientError: the disk does not keep up.
        """
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        stored = [self._stored(one, place, now_us) for place, one in enumerate(events)]
        # once on disk it must count, also where the client does not wait for the answer
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._keep(stored)))

    async def _keep(self, stored: list[StoredEvent]) -> tuple[int, int]:
        users = {one.user_id for one in stored}
        if (
            self.features.state != "off"
        ):  # both in memory before anything changes, so that what is new can be told
            await asyncio.gather(*map(self.users.get, users), *map(self.features.get, users))
        news = await self.events.append(stored)
        fresh = [one for one, new in zip(stored, news, strict=True) if new]
        for one in (
            fresh
        ):  # without a pause: no other request comes between reading features and moving them on
            if self.users.apply([one]):
                self._advance(one)
        self.metrics.events.labels("accepted").inc(len(fresh))
        self.metrics.events.labels("duplicate").inc(len(stored) - len(fresh))
        return len(fresh), len(stored) - len(fresh)

    def _stored(self, one: Event, place: int, now_us: int) -> StoredEvent:
        where = f"events[{place}]"
        if one.event not in self._event_names:
            raise InputError(
                f"there is no event called {one.event!r}",
                where=f"{where}.event",
                fix=f"use one of: {', '.join(sorted(self._event_names))}; params.yaml lists them "
                "under validation.events",
            )
        moment = one.timestamp
        if moment is None:
            at_us = now_us
        else:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            at_us = int((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
            if at_us > now_us + _AHEAD_US:
                raise InputError(
                    "the event lies in the future",
                    where=f"{where}.timestamp",
                    fix="times are UTC where no zone is given",
                )
        return StoredEvent(
            one.event_id,
            one.user_id,
            one.item_id,
            one.event,
            one.value,
            at_us,
            now_us,
            one.answer_id,
            one.position,
        )

    def _advance(self, one: StoredEvent) -> None:
        live, before, model = (
            self.features.live,
            self.features.kept(one.user_id),
            self.deployer.deployment.base,
        )
        if live is None or before is None or model is None:
            return
        own = model.catalogue.categories_of(one.item_id)
        others = (item for item in self.users.items_in_memory(one.user_id) if item != one.item_id)
        met = {name for item in others for name in model.catalogue.categories_of(item)}
        new = len(set(own) - met)
        after = advance(
            before,
            live.schema,
            categories=own,
            new_categories=new,
            slots=live.slots,
            value=one.value,
        )
        self.features.changed(one.user_id, after)


def _random_ids() -> Iterator[str]:
    while True:  # a thousand at a time: asking the system for each would cost more than the ranking
        drawn = os.urandom(16 * 1024).hex()
        yield from (drawn[start : start + 32] for start in range(0, len(drawn), 32))


_ids = _random_ids()


def new_answer_id() -> str:
    """An id that nobody can guess, 32 hexadecimal digits. For the event loop's thread."""
    return next(_ids)


def _members(model: Model, categories: list[str]) -> np.ndarray:
    found = [model.members[name] for name in categories if name in model.members]
    return np.concatenate(found) if found else NONE
