"""What popularity adds to a personal score while little is known of a user."""

from __future__ import annotations

import numpy as np


def popularity_share(popularity: np.ndarray, lengths: np.ndarray, weight: float) -> np.ndarray:
    """weight / (1 + n) × popularity, the most popular item being 1, for histories of n distinct items.

    Args:
        popularity: float32 (n_items,), not all 0.
        lengths: n for each history, int (B,).
        weight: 0 switches it off.

    Returns:
        A fresh float32 (B, n_items).
    """
    shares = (weight / (1 + lengths)).astype(np.float32)
    return np.multiply.outer(shares, popularity / popularity.max())
