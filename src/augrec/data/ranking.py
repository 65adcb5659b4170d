"""Ranked lists: the k best of many scores, which of them were wanted, and the gain of that."""

from __future__ import annotations

import numpy as np

from augrec.data.histories import Histories


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the k largest in each row, largest first, ties to the smaller position.

    Args:
        scores: float32 (B, n), without NaN.
        k: at most n.

    Returns:
        positions int64 (B, k), values float32 (B, k).
    """
    if k < scores.shape[1]:
        kth = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k][:, None]
        # all that are larger, then as many ties of the k-th, smallest position first, as there is room for
        above, tied = scores > kth, scores == kth
        room = k - above.sum(1, keepdims=True)
        chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= room))
        positions = np.nonzero(chosen)[1].reshape(len(scores), k)
    else:
        positions = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    values = np.take_along_axis(scores, positions, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(values, order, axis=1)


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
