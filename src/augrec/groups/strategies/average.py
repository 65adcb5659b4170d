"""The mean of what members would like."""

from __future__ import annotations

import numpy as np

from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class Average(Strategy):
    """Each item's mean relevance (Masthoff 2004, User Modeling 14, 37-85)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        mean: np.ndarray = group.relevance().mean(axis=0)
        return mean
