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


def relative_weight(
    sizes: np.ndarray, popularity: np.ndarray, lengths: np.ndarray, weight: float
) -> np.ndarray:
    """What popularity, the most popular item being 1, counts where it is to be weight / (1 + n)
    times as large as the personal scores, both by their root mean square over the catalogue.

    Personal scores of sparse data are small, those of dense data large: a weight in their own units
    means the same on both. Where all of a user's personal scores are 0, popularity ranks alone.

    Args:
        sizes: root mean square of the personal scores of each history, (B,); see `sizes_of`.
        popularity: float32 (n_items,), not all 0.
        lengths: n for each history, int (B,).
        weight: 0 switches it off.

    Returns:
        float32 (B,).
    """
    size_of_popularity = np.sqrt(np.mean(popularity**2)) / popularity.max()
    relative = np.where(sizes > 0, sizes / size_of_popularity, 1)
    return (popularity_weight(lengths, weight) * relative).astype(np.float32)


def sizes_of(scores: np.ndarray) -> np.ndarray:
    """The root mean square of each row of scores (B, n_items): float32 (B,)."""
    return np.sqrt(np.einsum("ij,ij->i", scores, scores) / scores.shape[1])


def add_popularity(scores: np.ndarray, popularity: np.ndarray, weights: np.ndarray) -> None:
    """Add weights (B,) × popularity, the most popular item being 1, to scores (B, n_items), in
    place."""
    scores += np.multiply.outer(weights, popularity / popularity.max())
