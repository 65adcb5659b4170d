"""Users of rare items."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector
from augrec.core.config import BaseConfig

_LEAST = 1e-3
"""Added to every share, so that users without a rare item come last and are not shut out."""


class LongTailConfig(BaseConfig):
    """What is rare, and how much it counts."""

    head: float = Field(0.8, gt=0, lt=1)
    """The most popular items that together hold this share of the real interactions are the head;
    the others the tail."""
    power: float = Field(1.0, ge=0)
    """Of the share of tail items in a profile."""


class LongTail(Selector):
    """In proportion to the share of a user's items that lie in the tail of real popularity."""

    Config = LongTailConfig

    def values(self, pool: Pool) -> np.ndarray:
        """(share of tail items)^power."""
        tail = tail_items(pool.popularity, self.config.head)
        shares = (pool.profiles @ tail.astype(np.float32)) / np.diff(pool.profiles.indptr)
        return (shares.astype(np.float64) + _LEAST) ** self.config.power


def tail_items(popularity: np.ndarray, head: float) -> np.ndarray:
    """Which items lie outside the head, bool (n_items,); of equally popular items the first are the
    head's."""
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    tail = np.ones(len(popularity), np.bool_)
    tail[order[before < head * popularity.sum()]] = False
    return tail
