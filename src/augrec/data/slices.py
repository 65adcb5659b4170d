"""Slices of users by activity: the length of the history that a recommender is given."""

from __future__ import annotations

from typing import Final

import numpy as np

SLICES: Final = ("0", "1-5", "6-20", "21+")
"""By the number of distinct items in a user's history."""

_FIRST_LENGTHS = np.array([1, 6, 21])


def slice_of(lengths: np.ndarray) -> np.ndarray:
    """The slice of each history length, str, same shape as `lengths`."""
    return np.asarray(SLICES)[np.searchsorted(_FIRST_LENGTHS, np.asarray(lengths), side="right")]
