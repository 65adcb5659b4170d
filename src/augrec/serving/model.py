"""A model in memory, ready to serve, and what it must show before it may."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from augrec.core.errors import RefusedError
from augrec.recommenders.base import Recommender
from augrec.serving.index import Index
from augrec.serving.item_metadata import NO_METADATA, ItemMetadata
from augrec.serving.ranking import Query, positions, rank

Role = Literal["champion", "challenger", "fallback"]
_FALLBACK = 2_000
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


@dataclass(frozen=True, eq=False)
class Model:
    """A recommender with all that answering needs; nothing of it changes.

    Attributes:
        recommender: who scores.
        catalogue: what its items are called.
        version, digest, run_id, commit, policy: where it came from.
        origin: "registry", "local copy", or "data" for the popular items that serve where there is
            no model.
        checks: what it was asked before it took over.
        places: item id -> position.
        popular: positions of the most popular items, best first.
        members: category -> positions of its items.
        index: finds the best items of a large catalogue; None: all are scored.
    """

    recommender: Recommender
    catalogue: ItemMetadata = NO_METADATA
    version: str = ""
    digest: str = ""
    run_id: str = ""
    commit: str = ""
    policy: str = ""
    origin: Literal["registry", "local copy", "data"] = "data"
    checks: dict[str, Any] = field(default_factory=dict)
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    places: dict[str, int] = field(default_factory=dict)
    popular: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    members: dict[str, np.ndarray] = field(default_factory=dict)
    index: Index | None = None

    @classmethod
    def of(
        cls, recommender: Recommender, catalogue: ItemMetadata = NO_METADATA, **facts: Any
    ) -> Model:
        """Prepare a fitted recommender."""
        places = {str(item): place for place, item in enumerate(recommender.items.ids.tolist())}
        popular = np.argsort(-recommender.popularity, kind="stable")[:_FALLBACK]
        members = {name: positions(places, items) for name, items in catalogue.by_category.items()}
        return cls(recommender, catalogue, places=places, popular=popular, members=members, **facts)

    @property
    def ids(self) -> np.ndarray:
        """Item ids by position."""
        return self.recommender.items.ids

    def named_as(self, role: Role) -> dict[str, str]:
        """The model as answers name it; see `augrec.serving.schemas.ServedBy`."""
        return {
            "version": self.version,
            "recommender": self.recommender.name(),
            "policy": self.policy,
            "digest": self.digest,
            "role": role,
        }

    def popularity_of(self, item: str) -> float:
        """The item's share of all interactions; 0 where the model does not know it."""
        place = self.places.get(item)
        return 0.0 if place is None else float(self.recommender.popularity[place])


def check(model: Model, golden: list[dict[str, Any]], max_scores: int) -> dict[str, Any]:
    """Ask a model what it must be able to answer, before anybody else does.

    A bundle carries golden answers, recorded when it was made: the same questions must be answered
    the same. Besides, a newcomer, a user of one item and one of unknown items must get a full,
    finite, ordered list without what they saw.

    Args:
        model: who is asked.
        golden: [{"history": …, "items": …, "scores": …}]; bundles of before have none.
        max_scores: so many scores are held at once.

    Returns:
        What was asked, for people.

    Raises:
        RefusedError: an answer is wrong.
    """
    for told in golden:
        _compare(model, told, max_scores)
    seen = [str(item) for item in model.ids[model.popular[:3]]]
    asked = [[], seen[:1], seen, ["no such item, ever"]]
    answers = rank(
        model.recommender, model.places, [Query(one, 10) for one in asked], {}, max_scores
    )
    for history, (items, scores) in zip(asked, answers, strict=True):
        left = len(model.places) - sum(item in model.places for item in history)
        problem = _problem(model, history, items, scores, min(10, left))
        if problem:
            raise _refused(model, f"asked with {len(history)} items it {problem}")
    return {"golden": len(golden), "sanity": len(asked)}


def _compare(model: Model, told: dict[str, Any], max_scores: int) -> None:
    histories = pl.Series([told["history"]], dtype=pl.List(pl.String))
    k = max(1, len(told["items"]))
    items, scores = model.recommender.recommend(histories, k)
    same_scores = len(scores[0]) == len(told["scores"]) and np.allclose(
        scores[0], told["scores"], _RELATIVE, _ABSOLUTE
    )
    # items whose scores are equal but for rounding may change places
    overlap = len(set(items[0]) & set(told["items"])) / max(1, len(told["items"]))
    if not same_scores or overlap < 0.8:
        raise _refused(
            model, f"it answers {items[0][:3].tolist()} where {told['items'][:3]} was recorded"
        )
    [(served, _)] = rank(
        model.recommender, model.places, [Query(told["history"], k)], {}, max_scores
    )
    if model.ids[served].tolist() != items[0][items[0] != ""].tolist():
        raise _refused(model, "the service would answer another list than the recommender itself")


def _problem(
    model: Model, history: list[str], items: np.ndarray, scores: np.ndarray, least: int
) -> str:
    if len(items) < least:
        return f"recommends {len(items)} items where {least} are left"
    if not np.isfinite(scores).all():
        return "gives scores that are not numbers"
    if (np.diff(scores) > 0).any():
        return "does not put the best items first"
    if set(model.ids[items].tolist()) & set(history):
        return "recommends what was seen"
    return ""


def _refused(model: Model, why: str) -> RefusedError:
    return RefusedError(
        f"version {model.version} does not answer as it must: {why}",
        where=f"digest {model.digest[:12]}",
        fix="look at how it was trained; the old model stays",
    )
