"""What a recommender says of a group: the scores of each member and of the group's own row, and how
content each member is with a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.histories import Histories
from augrec.recommenders.base import Recommender


@dataclass(frozen=True)
class GroupScores:
    """A group of m members and a catalogue of n items.

    Attributes:
        members: the score of each item for each member, float32 (m, n), finite; of one member
            comparable, between members not: see `relevance`.
        own: the scores of the group's own row, folded in like a user's, float32 (n,).
        popularity: each item's share of the interactions, float32 (n,).
        taken: how often the group itself took each item, int32 (n,).
        met: how many members have each item in their history, int32 (n,).
        activity: the length of each member's history, int64 (m,).
        allowed: which items may be in the list, bool (n,).
    """

    members: np.ndarray
    own: np.ndarray
    popularity: np.ndarray
    taken: np.ndarray
    met: np.ndarray
    activity: np.ndarray
    allowed: np.ndarray

    def relevance(self) -> np.ndarray:
        """The members' scores on one scale, float32 (m, n): 0 is the worst allowed item of a
        member, 1 the best; 0 everywhere for a member to whom all are alike."""
        return scaled(self.members, self.allowed)

    @classmethod
    def of_members(cls, members: np.ndarray) -> GroupScores:
        """Of the members' scores alone: their mean stands for the group's own row, and every item
        is allowed.

        Args:
            members: float (m, n).

        Raises:
            InputError: it is no such table, a score is not finite, or there is no member.
        """
        table = np.asarray(members, np.float32)
        if table.ndim != 2 or not len(table) or not np.isfinite(table).all():
            raise InputError(
                f"the scores of a group's members have the shape {table.shape}, or some are not "
                "finite",
                where="group",
                fix="give one row for each member and one column for each item",
            )
        n = table.shape[1]
        everything, nothing = np.ones(n, np.bool_), np.zeros(n, np.int32)
        return cls(
            members=table,
            own=scaled(table, everything).mean(axis=0),
            popularity=np.zeros(n, np.float32),
            taken=nothing,
            met=nothing,
            activity=np.ones(len(table), np.int64),
            allowed=everything,
        )


def score_group(
    recommender: Recommender,
    histories: Sequence[Sequence[str]],
    own: Sequence[str] = (),
    *,
    member_weight: float = 1.0,
    user_features: pl.DataFrame | None = None,
    allowed: np.ndarray | None = None,
) -> GroupScores:
    """Score the catalogue for each member and for the group's own row.

    Args:
        recommender: a fitted one.
        histories: the items of each member, oldest first; unknown ids are ignored.
        own: what the group itself took, oldest first.
        member_weight: what the members' items weigh in the group's own row, together, if the
            group's own weigh 1 each. A group without choices of its own has theirs alone.
        user_features: what is known of the members, one row each; None: nothing.
        allowed: which items may be in the list, bool (n_items,); None: those that no member has
            met.

    Raises:
        InputError: there is no member.
    """
    if not histories:
        raise InputError(
            "a group without members was asked for", where="group", fix="give at least one member"
        )
    index = recommender.items
    lists = pl.Series([list(one) for one in histories], dtype=pl.List(pl.String))
    encoded = Histories.from_lists(lists, index, user_features=user_features)
    met = np.zeros(len(index), np.int32)
    for row in range(len(encoded)):
        met[np.unique(encoded.items[encoded.indptr[row] : encoded.indptr[row + 1]])] += 1
    chosen = index.encode(pl.Series(list(own), dtype=pl.String))
    taken = np.bincount(chosen[chosen >= 0], minlength=len(index)).astype(np.int32)
    row_of_group = _own_row(met, taken, member_weight / len(histories), len(index))
    return GroupScores(
        members=recommender.score(encoded),
        own=recommender.score(row_of_group)[0],
        popularity=recommender.popularity,
        taken=taken,
        met=met,
        activity=encoded.lengths,
        allowed=met == 0 if allowed is None else allowed,
    )


def scaled(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Rows of scores between 0, the worst allowed item of a row, and 1, its best; float32."""
    if not allowed.any():
        return np.zeros(scores.shape, np.float32)
    among = scores[..., allowed]
    low, high = among.min(axis=-1, keepdims=True), among.max(axis=-1, keepdims=True)
    span = np.where(high > low, high - low, np.inf)
    return np.clip((scores - low) / span, 0.0, 1.0).astype(np.float32)


def satisfaction(relevance: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """How content each member is with a list: the discounted sum of its relevance, divided by that
    of the member's own best list of the same length; float64 (m,) in [0, 1].

    Args:
        relevance: float (m, n), see `GroupScores.relevance`.
        chosen: positions of the list's items, best first, int (k,).
    """
    k = len(chosen)
    if not k:
        return np.zeros(len(relevance))
    discount = 1 / np.log2(np.arange(k) + 2.0)
    n = relevance.shape[1]
    best = np.partition(relevance, n - k, axis=1)[:, n - k :] if k < n else relevance
    ideal = -np.sort(-best, axis=1)[:, :k] @ discount
    got = relevance[:, chosen] @ discount
    # a member to whom all items are alike loses nothing by any list
    return np.where(ideal > 0, got / np.where(ideal > 0, ideal, 1.0), 1.0).clip(0.0, 1.0)


def _own_row(met: np.ndarray, taken: np.ndarray, weight: float, n_items: int) -> Histories:
    values = (taken > 0) + weight * met if taken.any() else met / max(1, int(met.max(initial=0)))
    items = np.flatnonzero(values > 0).astype(np.int32)
    return Histories(
        users=np.array(["group"]),
        indptr=np.array([0, len(items)], np.int64),
        items=items,
        weights=values[items].astype(np.float32),
        observed=np.ones(len(items), np.bool_),
        n_items=n_items,
    )
