"""The group is a user: its own row is folded in, with its members' weighed in."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores, scaled


class OwnRowConfig(BaseConfig):
    """Config of the group's own row."""

    members: float = Field(0.0, ge=0.0)
    """What the mean of the members' relevance weighs, if that of the group's row weighs 1."""


class OwnRow(Strategy):
    """The recommender's scores for the group's own row, which any recommender folds in as it does a
    user's; a group without choices of its own has its members' rows together."""

    Config = OwnRowConfig

    def _scores(self, group: GroupScores) -> np.ndarray:
        own = scaled(group.own, group.allowed)
        if self.config.members:
            own = own + self.config.members * group.relevance().mean(axis=0)
        return own
