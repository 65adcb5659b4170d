"""A model in memory, ready to serve, and the checks it must pass before."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.stored_groups import StoredGroups
from augrec.recommenders.base import Recommender
from augrec.serving.index import Index
from augrec.serving.item_metadata import NO_METADATA, ItemMetadata
from augrec.serving.ranking import Query, positions, rank

Role = Literal["champion", "challenger", "fallback"]
_N_POPULAR = 2_000
_RTOL, _ATOL = 1e-3, 1e-5


@dataclass(frozen=True, eq=False)
class Model:
    """A recommender with everything needed to answer requests. Immutable.

    Attributes:
        recommender: scores items.
        metadata: of its items.
        version, digest, run_id, commit, policy: of the registered version.
        origin: "registry", "local copy", or "data" for the fallback while there is no model.
        checks: number of checks passed before it took over.
        places: {item id: position in the catalogue}.
        popular: positions of the most popular items, best first.
        members: {category: positions of its items}.
        index: approximate index of a large catalogue; None: all items are scored.
        groups: people who decide together.
    """

    recommender: Recommender
    metadata: ItemMetadata = NO_METADATA
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
    groups: StoredGroups = field(default_factory=StoredGroups)

    @classmethod
    def of(
        cls, recommender: Recommender, metadata: ItemMetadata = NO_METADATA, **facts: Any
    ) -> Model:
        """Prepare a fitted recommender for serving."""
        places = {str(item): place for place, item in enumerate(recommender.items.ids.tolist())}
        popular = np.argsort(-recommender.popularity, kind="stable")[:_N_POPULAR]
        members = {name: positions(places, items) for name, items in metadata.by_category.items()}
        return cls(recommender, metadata, places=places, popular=popular, members=members, **facts)

    @property
    def ids(self) -> np.ndarray:
        """Item ids by position."""
        return self.recommender.items.ids

    def served_by(self, role: Role) -> dict[str, str]:
        """The model as part of an answer; see `augrec.serving.schemas.ServedBy`."""
        return {
            "version": self.version,
            "recommender": self.recommender.name(),
            "policy": self.policy,
            "digest": self.digest,
            "role": role,
        }

    def popularity_of(self, item: str) -> float:
        """The item's share of all interactions; 0 for an unknown item."""
        place = self.places.get(item)
        return 0.0 if place is None else float(self.recommender.popularity[place])


def check(model: Model, golden: list[dict[str, Any]], max_scores: int) -> dict[str, Any]:
    """Check a model before it serves.

    It must reproduce the golden answers of its bundle. And an empty history, histories of known
    items and one of an unknown item must give a full, finite, ordered list without seen items.

    Args:
        model: the model to check.
        golden: [{"history": …, "items": …, "scores": …}]; early bundles have none.
        max_scores: maximum number of scores in memory.

    Returns:
        Number of checks: {"golden": …, "sanity": …}.

    Raises:
        RefusedError: a check failed.
    """
    for expected in golden:
        _compare(model, expected, max_scores)
    seen = [str(item) for item in model.ids[model.popular[:3]]]
    histories = [[], seen[:1], seen, ["no such item, ever"]]
    answers = rank(
        model.recommender, model.places, [Query(one, 10) for one in histories], {}, max_scores
    )
    for history, (items, scores) in zip(histories, answers, strict=True):
        left = len(model.places) - sum(item in model.places for item in history)
        problem = _problem(model, history, items, scores, min(10, left))
        if problem:
            raise _refused(model, f"for a history of {len(history)} items it {problem}")
    return {"golden": len(golden), "sanity": len(histories)}


def _compare(model: Model, expected: dict[str, Any], max_scores: int) -> None:
    histories = pl.Series([expected["history"]], dtype=pl.List(pl.String))
    k = max(1, len(expected["items"]))
    items, scores = model.recommender.recommend(histories, k)
    same_scores = len(scores[0]) == len(expected["scores"]) and np.allclose(
        scores[0], expected["scores"], _RTOL, _ATOL
    )
    # items with equal scores up to rounding may swap places
    overlap = len(set(items[0]) & set(expected["items"])) / max(1, len(expected["items"]))
    if not same_scores or overlap < 0.8:
        found, recorded = items[0][:3].tolist(), expected["items"][:3]
        raise _refused(
            model,
            f"items or scores differ from the recorded ones (items {found}, recorded {recorded})",
        )
    [(served, _)] = rank(
        model.recommender, model.places, [Query(expected["history"], k)], {}, max_scores
    )
    if model.ids[served].tolist() != items[0][items[0] != ""].tolist():
        raise _refused(model, "the service would return another list than the recommender")


def _problem(
    model: Model, history: list[str], items: np.ndarray, scores: np.ndarray, least: int
) -> str:
    if len(items) < least:
        return f"recommends {len(items)} of {least} available items"
    if not np.isfinite(scores).all():
        return "returns scores that are not finite"
    if (np.diff(scores) > 0).any():
        return "does not sort items by score"
    if set(model.ids[items].tolist()) & set(history):
        return "recommends seen items"
    return ""


def _refused(model: Model, why: str) -> RefusedError:
    return RefusedError(
        f"version {model.version} failed a check: {why}",
        where=f"digest {model.digest[:12]}",
        fix="check how it was trained; the current model stays",
    )
