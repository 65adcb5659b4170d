"""How good lists for groups are: for what the group chose, and for each member's own taste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from augrec.data.ranking import ndcg


def mid_ranks(chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rank of each chosen item among the others, 1 the best, ties at the middle of their
    places; float64 (c,).

    A model that gives every item the same score gets the middle of all places: with ties at the
    top it would find everything.

    Args:
        chosen: the scores of the chosen items, (c,).
        others: the scores of the items beside each, (c, d); -inf where one does not count.
    """
    counts = ~np.isneginf(others)
    above = ((others > chosen[:, None]) & counts).sum(axis=1)
    tied = ((others == chosen[:, None]) & counts).sum(axis=1)
    ranks: np.ndarray = 1.0 + above + tied / 2
    return ranks


def choice_metrics(ranks: np.ndarray, cutoffs: Sequence[int] = (5, 10)) -> dict[str, np.ndarray]:
    """{"hit_rate@5": …, "ndcg@5": …, …} of each choice, float64 (c,); one item is wanted."""
    found: dict[str, np.ndarray] = {}
    for k in cutoffs:
        hit = ranks <= k
        found[f"hit_rate@{k}"] = hit.astype(np.float64)
        found[f"ndcg@{k}"] = np.where(hit, 1 / np.log2(1 + ranks), 0.0)
    return found


class Members(NamedTuple):
    """How one list serves the members of each group.

    Attributes:
        mean: the mean of the members' NDCG, float64 (g,).
        worst: the NDCG of the member it serves least, float64 (g,).
        spread: the standard deviation between members, float64 (g,).
    """

    mean: np.ndarray
    worst: np.ndarray
    spread: np.ndarray


def member_metrics(lists: Sequence[np.ndarray], targets: Sequence[Sequence[np.ndarray]]) -> Members:
    """The NDCG of each group's one list for each member's own held-out items: the members' tastes
    are judged apart from the model that made the list ("decoupled").

    Args:
        lists: positions, best first, one list for each group.
        targets: for each group, for each member with held-out items, their positions.
    """
    found = [
        np.array([ndcg(np.isin(chosen, own)[None], np.array([len(own)]))[0] for own in members])
        for chosen, members in zip(lists, targets, strict=True)
    ]
    return Members(
        np.array([one.mean() for one in found]),
        np.array([one.min() for one in found]),
        np.array([one.std() for one in found]),
    )
