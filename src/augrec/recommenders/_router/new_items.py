"""Inserting new items: a bounded share of every list for items without interactions."""

from __future__ import annotations

import numpy as np

from augrec.data.histories import Histories
from augrec.data.ranking import top_k

_DEPTH = 500
"""The number of places of a list in which new items are inserted."""


def insert_new_items(
    table: np.ndarray, histories: Histories, new: np.ndarray, said: np.ndarray, share: float
) -> np.ndarray:
    """Insert the best new items into the list, the j-th at place ⌈j / share⌉ of the items not in
    the history.

    Where the items around that place are tied it comes after them. Only those with a content score
    above 0 are inserted; the other new items come last.

    Args:
        table: scores, float32 (B, n_items); changed and returned.
        histories: of those B users.
        new: positions of the new items, int (n_new,).
        said: their scores by content, float32 (B, n_new).
        share: above 0, below 1.
    """
    others = table.copy()
    others[np.repeat(np.arange(len(table)), histories.lengths), histories.items] = -np.inf
    others[:, new] = -np.inf
    _, scores = top_k(
        others, min(_DEPTH, table.shape[1])
    )  # (B, D), of items met by others, best first
    count = min(len(new), max(1, int(share * scores.shape[1])))
    best, values = top_k(said, count)  # (B, count)
    ahead = np.ceil(np.arange(1, count + 1) / share).astype(np.int64) - np.arange(
        1, count + 1
    )  # met items before each
    inside = np.minimum(ahead, scores.shape[1] - 1)
    above, below = scores[:, np.maximum(inside - 1, 0)], scores[:, inside]
    between = np.where(above > below, (above + below) / 2, np.nextafter(above, np.float32(-np.inf)))
    worst = table.min(axis=1, keepdims=True) - 1
    between = np.where((values > 0) & np.isfinite(between), between, worst)
    table[:, new] = worst
    np.put_along_axis(table, new[best], between.astype(np.float32), axis=1)
    return table
