"""Members vote: an item gets as many points as there are items that a member likes less."""

from __future__ import annotations

import numpy as np

from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class Borda(Strategy):
    """The mean of the points that members give by rank; equal scores share their points (Borda
    1781)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        allowed = group.allowed
        points = np.zeros(group.members.shape[1])
        if allowed.any():
            given = [_points(one) for one in group.members[:, allowed]]
            points[allowed] = np.mean(given, axis=0) / max(1, int(allowed.sum()) - 1)
        return points


def _points(scores: np.ndarray) -> np.ndarray:
    """How many items have a lower score, plus half of the others with the same, float64 (n,)."""
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores, side="left")
    up_to = np.searchsorted(ordered, scores, side="right")
    points: np.ndarray = (below + up_to - 1) / 2
    return points
