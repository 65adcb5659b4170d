"""The contract of every strategy."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np

from augrec.core import component
from augrec.core.component import Component
from augrec.core.errors import InputError
from augrec.data.ranking import top_k
from augrec.groups.choices import Choices
from augrec.groups.scores import GroupScores, satisfaction

STRATEGIES = "augrec.groups.strategies"


class Strategy(Component):
    """Makes one list for a group from what a recommender says of it.

    A subclass implements `_scores`; one that looks at the whole list overrides `_choose` too. Most
    learn nothing: their state is empty.
    """

    learns: ClassVar[bool] = False
    """Whether it must be fitted to what groups chose."""

    def fit(self, choices: Choices) -> Self:
        """Learn from what groups chose; most strategies do not."""
        return self

    def scores(self, group: GroupScores) -> np.ndarray:
        """A score of each item for the group, float32 (n,); -inf where it may not be in the
        list."""
        found = self._scores(group).astype(np.float32)
        return np.where(group.allowed, found, np.float32(-np.inf))

    def choose(self, group: GroupScores, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The list for a group.

        Args:
            group: m members and n items.
            k: its length; shorter where fewer items are allowed.

        Returns:
            positions int64 (k',), best first, and scores float32 (k',), which do not increase. Ties
            go to the smaller position.

        Raises:
            InputError: k is less than 1.
        """
        if k < 1:
            raise InputError(
                f"a list of {k} items was asked for", where="group", fix="ask for at least one"
            )
        k = min(k, int(group.allowed.sum()))
        if not k:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return self._choose(group, k)

    def satisfaction(self, group: GroupScores, chosen: np.ndarray) -> np.ndarray:
        """How content each member is with a list, float64 (m,) in [0, 1]."""
        return satisfaction(group.relevance() * group.allowed, chosen)

    def _choose(self, group: GroupScores, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = self.scores(group)[None]
        # -inf is not allowed: there are at least k others
        positions, values = top_k(np.maximum(found, np.finfo(np.float32).min), k)
        return positions[0], values[0]

    @abstractmethod
    def _scores(self, group: GroupScores) -> np.ndarray:
        """A score of each item, float (n,); what is not allowed is left out afterwards."""

    def _state(self) -> dict[str, np.ndarray]:
        return {}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        return None


def find(name: str) -> type[Strategy]:
    """The strategy class called `name`."""
    return component.find(STRATEGIES, name, Strategy)  # type: ignore[type-abstract]


def names() -> list[str]:
    """The names of all strategies."""
    return component.available(STRATEGIES)
