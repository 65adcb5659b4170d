"""The product of what members would like: one who does not like an item at all can veto it."""

from __future__ import annotations

import numpy as np

from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores

_FLOOR = 1e-6


class Multiplicative(Strategy):
    """Each item's geometric mean of the relevance (Masthoff 2004), which orders like the product
    and is comparable between sizes of groups."""

    def _scores(self, group: GroupScores) -> np.ndarray:
        logarithm = np.log(np.maximum(group.relevance(), _FLOOR))
        product: np.ndarray = np.exp(logarithm.mean(axis=0))
        return product
