"""What popularity adds to a personal score while little is known of a user."""

from __future__ import annotations

import numpy as np


def popularity_weight(lengths: np.ndarray, weight: float) -> np.ndarray:
    """weight / (1 + n) for histories of n distinct items, float32 of the shape of `lengths`."""
    return (weight / (1 + lengths)).astype(np.float32)


def popularity_share(popularity: np.ndarray, lengths: np.ndarray, weight: float) -> np.ndarray:
    """weight / (1 + n) × popularity, the most popular item being 1, for histories of n distinct
    items.

    Args:
        popularity: float32 (n_items,), not all 0.
        lengths: n for each history, int (B,).
        weight: 0 switches it off.

    Returns:
        A fresh float32 (B, n_items).
    """
    return np.multiply.outer(popularity_weight(lengths, weight), popularity / popularity.max())
