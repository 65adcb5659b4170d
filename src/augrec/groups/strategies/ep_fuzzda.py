"""A list that divides what it offers between members in equal shares, at every length."""

from __future__ import annotations

import numpy as np

from augrec.groups._greedy import candidates, greedy
from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class EpFuzzda(Strategy):
    """Adds the item that closes most of what members lack to an equal share of the list's
    relevance: Σ_u min(r_ui, max(0, T_i / m - R_u)), T_i the relevance of the list with i to all,
    R_u that of the list so far to u (Malecek and Peska 2021, UMAP, EP-FuzzDA)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        """Of an empty list."""
        return _gain(group.relevance(), np.zeros(0, np.int64))

    def _choose(self, group: GroupScores, k: int) -> tuple[np.ndarray, np.ndarray]:
        places = candidates(group, k)
        found, values = greedy(group.relevance()[:, places], k, _gain)
        return places[found], values


def _gain(relevance: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    had = relevance[:, chosen].sum(axis=1)  # (m,)
    total = had.sum() + relevance.sum(axis=0)  # (c,)
    lacking = np.maximum(0.0, total / len(relevance) - had[:, None])  # (m, c)
    gain: np.ndarray = np.minimum(relevance, lacking).sum(axis=0)
    return gain
