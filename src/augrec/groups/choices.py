"""What groups chose, held out and with items they did not choose: what strategies learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augrec.core.errors import InputError
from augrec.groups.scores import GroupScores


@dataclass(frozen=True)
class Choices:
    """Groups and the items that they chose.

    Attributes:
        groups: what a recommender says of each group, without what was held out.
        group: the group of each choice, int (c,), a place in `groups`.
        chosen: the item that it chose, a position, int (c,).
        others: items that it did not choose, positions, int (c, d).
    """

    groups: Sequence[GroupScores]
    group: np.ndarray
    chosen: np.ndarray
    others: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.chosen):
            raise InputError(
                "there is no choice of a group to learn from",
                where="groups",
                fix="import interactions of groups, or take a strategy that learns nothing",
            )

    def candidates(self) -> np.ndarray:
        """The chosen item and the others of each choice, int (c, 1 + d), the chosen one first."""
        return np.concatenate([self.chosen[:, None], self.others], axis=1)
