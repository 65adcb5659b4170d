"""An item is worth what the member who likes it least would give."""

from __future__ import annotations

import numpy as np

from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class LeastMisery(Strategy):
    """Each item's smallest relevance among members (Masthoff 2004)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        least: np.ndarray = group.relevance().min(axis=0)
        return least
