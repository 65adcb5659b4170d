"""Ranked lists: the k best of many scores, which of them were wanted, and the gain of that."""

from __future__ import annotations

import numpy as np

from augrec.data.histories import Histories

_CROWDED = 4
"""A row with more than so many times k candidates is searched on its own."""


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the k largest in each row, largest first, ties to the smaller position.

    What lies above a lower bound of the k-th largest is little more than k candidates a row, and only those are sorted;
    a row with fewer is filled up with the first of those that equal the bound.

    Args:
        scores: float32 (B, n), without NaN.
        k: at most n.

    Returns:
        positions int64 (B, k), values float32 (B, k).
    """
    n_rows, n = scores.shape
    bound = _bound(scores, k)
    above = np.flatnonzero(scores > bound[:, None])
    row = above // n
    counts = np.bincount(row, minlength=n_rows)
    crowded = counts > _CROWDED * k
    if crowded.any():
        above, row, counts = above[~crowded[row]], row[~crowded[row]], np.where(crowded, 0, counts)
    shape = n_rows, max(k, int(counts.max(initial=0)))
    positions, values = np.zeros(shape, np.int64), np.full(shape, -np.inf, np.float32)
    place = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions[row, place], values[row, place] = above - row * n, scores.ravel()[above]
    for short in np.flatnonzero((counts < k) & ~crowded):
        tied = np.flatnonzero(scores[short] == bound[short])[: k - counts[short]]
        positions[short, counts[short] : k], values[short, counts[short] : k] = tied, bound[short]
    for crowd in np.flatnonzero(crowded):
        positions[crowd, :k] = _best_of(scores[crowd], k)
        values[crowd, :k] = scores[crowd, positions[crowd, :k]]
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(values, order, axis=1)


def _bound(scores: np.ndarray, k: int) -> np.ndarray:
    """A value in each row that at least k others reach, float32 (B,).

    The columns are folded upon one another, keeping the larger: as the cells that are left hold maxima of different
    columns, the k-th largest cell is not above the k-th largest score.
    """
    cells = scores
    while cells.shape[1] >= 8 * k:
        half = cells.shape[1] // 2
        folded = np.maximum(cells[:, :half], cells[:, half : 2 * half])
        if cells.shape[1] % 2:
            np.maximum(folded[:, 0], cells[:, -1], out=folded[:, 0])
        cells = folded
    kth = cells.shape[1] - k
    return np.partition(cells, kth, axis=1)[:, kth]


def _best_of(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest of one row, in order of position; ties to the smaller one; int64 (k,)."""
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > kth)
    tied = np.flatnonzero(scores == kth)[: k - len(above)]
    return np.sort(np.concatenate([above, tied]))


def hits(ranked: np.ndarray, targets: Histories) -> np.ndarray:
    """Which recommended items were wanted.

    Args:
        ranked: item positions (n, k), best first; -1 where a place is empty.
        targets: the n users' wanted items, in the same item index.

    Returns:
        bool (n, k).
    """
    offsets = np.arange(len(ranked), dtype=np.int64) * targets.n_items
    wanted = np.repeat(offsets, targets.lengths) + targets.items
    return np.isin(offsets[:, None] + ranked, wanted) & (ranked >= 0)


def ndcg(hit: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain of lists of length k, binary relevance, discount 1 / log2(rank + 1).

    The ideal list holds min(k, n_targets) wanted items in front (Järvelin & Kekäläinen 2002).

    Args:
        hit: bool (n, k).
        n_targets: how many items each user wanted, unknown ones included, int (n,).

    Returns:
        float64 (n,) in [0, 1]; 0 for a user who wanted nothing.
    """
    discounts = 1 / np.log2(np.arange(2, hit.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(n_targets, hit.shape[1])]
    gained = np.where(hit, discounts, 0.0).sum(axis=1)
    return np.divide(gained, ideal, out=np.zeros(len(hit)), where=ideal > 0)
