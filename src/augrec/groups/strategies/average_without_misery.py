"""The mean of what members would like, of items that nobody dislikes."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores


class AverageWithoutMiseryConfig(BaseConfig):
    """Config of the average without misery."""

    least: float = Field(0.2, ge=0.0, le=1.0)
    """An item that some member would like less than this, of 0 … 1, comes after all others."""


class AverageWithoutMisery(Strategy):
    """The mean relevance of items that reach a least relevance with every member (Masthoff 2004).
    The others follow, by their mean."""

    Config = AverageWithoutMiseryConfig

    def _scores(self, group: GroupScores) -> np.ndarray:
        relevance = group.relevance()
        mean: np.ndarray = relevance.mean(axis=0)
        return mean - (relevance.min(axis=0) < self.config.least)
