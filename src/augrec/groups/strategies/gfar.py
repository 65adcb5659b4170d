"""A list in which each member soon finds something: relevance counts less for a member who has been
served."""

from __future__ import annotations

import numpy as np

from augrec.groups._greedy import candidates, greedy
from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class Gfar(Strategy):
    """Adds the item with the largest Σ_u p(i | u) Π_{j before} (1 - p(j | u)), p by Borda points
    among the candidates (Kaya, Bridge and Tintarev 2020, RecSys, 101-110)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        """Of an empty list: the mean chance."""
        chances = np.zeros(group.members.shape[1])
        places = candidates(group, 1)
        chances[places] = _chances(group.members[:, places]).mean(axis=0)
        return chances

    def _choose(self, group: GroupScores, k: int) -> tuple[np.ndarray, np.ndarray]:
        places = candidates(group, k)
        found, values = greedy(_chances(group.members[:, places]), k, _gain)
        return places[found], values


def _chances(scores: np.ndarray) -> np.ndarray:
    """The Borda points of a member, divided by their sum; float64 (m, c)."""
    below = [np.searchsorted(np.sort(one), one, side="left") for one in scores]
    points = np.stack(below).astype(np.float64) + 1.0
    return points / points.sum(axis=1, keepdims=True)


def _gain(chances: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    unserved = np.prod(1 - chances[:, chosen], axis=1)
    gain: np.ndarray = unserved @ chances
    return gain
