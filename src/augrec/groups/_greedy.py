"""Strategies that look at the whole list add one item after another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from augrec.data.ranking import top_k
from augrec.groups.scores import GroupScores

_LEAST = 200


def candidates(group: GroupScores, k: int) -> np.ndarray:
    """The items that a greedy choice looks at: the best of each member, at least k of the allowed,
    by position; int64 (c,)."""
    relevance = np.where(group.allowed, group.relevance(), -1.0).astype(np.float32)
    best, _ = top_k(relevance, min(max(_LEAST, 4 * k), relevance.shape[1]))
    found = np.unique(best)
    return found[group.allowed[found]]


def greedy(
    relevance: np.ndarray,
    k: int,
    gain: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Add k times the candidate with the largest gain; ties go to the one that members like better
    on average, then to the smaller position.

    Args:
        relevance: of the candidates, float (m, c).
        k: at most c.
        gain: (relevance (m, c), places of the items so far) -> gain of each candidate, (c,).

    Returns:
        places among the candidates int64 (k,) and scores float32 (k,), k … 1 divided by k.
    """
    left = np.ones(relevance.shape[1], np.bool_)
    mean = relevance.mean(axis=0)
    chosen: list[int] = []
    for _ in range(k):
        gains = np.where(left, gain(relevance, np.array(chosen, np.int64)), -np.inf)
        tied = np.flatnonzero(gains >= gains.max() - 1e-12)
        place = int(tied[np.argmax(mean[tied])])
        chosen.append(place)
        left[place] = False
    return np.array(chosen, np.int64), (np.arange(k, 0, -1) / k).astype(np.float32)
