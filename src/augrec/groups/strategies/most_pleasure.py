"""An item is worth what the member who likes it most would give."""

from __future__ import annotations

import numpy as np

from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class MostPleasure(Strategy):
    """Each item's largest relevance among members (Masthoff 2004)."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        most: np.ndarray = group.relevance().max(axis=0)
        return most
