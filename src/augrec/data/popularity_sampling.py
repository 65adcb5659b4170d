"""Distinct items for each user, drawn by popularity or by logits of the user's own.

By popularity: the users of placebos and controls, who have no taste.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 8
_CELLS_AT_ONCE = 2**22


def draw_distinct(
    lengths: np.ndarray, weights: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """For each row, `lengths` distinct positions drawn one after another in proportion to
    `weights`.

    Draws with replacement and drops what a row already has, which is the same as drawing without.
    Rows that are not full after a few rounds hold a good part of the catalogue; for them alone all
    positions are ranked (Gumbel-top-k), so that the cost stays linear in the number of rows drawn.

    Args:
        lengths: int64 (n,), at most len(weights).
        weights: positive float (m,).
        random: where the draw comes from.

    Returns:
        int64 (sum of lengths,), row after row, in the order drawn.
    """
    m, total = len(weights), np.cumsum(weights)
    rows, items = np.empty(0, np.int64), np.empty(0, np.int64)
    missing = lengths.astype(np.int64)
    for _ in range(_ROUNDS):
        more = np.repeat(np.arange(len(lengths)), 2 * missing)
        drawn = np.searchsorted(total, random.random(len(more)) * total[-1], side="right")
        rows, items = (
            np.concatenate([rows, more]),
            np.concatenate([items, np.minimum(drawn, m - 1)]),
        )
        first = np.sort(np.unique(rows * m + items, return_index=True)[1])
        order = first[np.argsort(rows[first], kind="stable")]
        rows, items = rows[order], items[order]
        missing = np.maximum(lengths - np.bincount(rows, minlength=len(lengths)), 0)
        if not missing.any():
            break
    full = missing == 0
    starts = np.searchsorted(rows, np.arange(len(lengths)))
    keep = full[rows] & (np.arange(len(rows)) - starts[rows] < lengths[rows])
    rest = np.nonzero(~full)[0]
    rows = np.concatenate([rows[keep], np.repeat(rest, lengths[rest])])
    items = np.concatenate([items[keep], _rank_all(lengths[rest], weights, random)])
    return items[np.argsort(rows, kind="stable")]


def draw_by_logits(
    logits: np.ndarray, lengths: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """For each row, `lengths` distinct positions drawn one after another in proportion to
    exp(logit) (Gumbel-top-k, arXiv 1903.06059).

    Args:
        logits: float (B, m); -inf is never drawn before all others are.
        lengths: int64 (B,), at most m.
        random: where the draw comes from.

    Returns:
        int64 (sum of lengths,), row after row, in the order drawn.
    """
    ranked = np.argsort(-(logits + random.gumbel(size=logits.shape)), axis=1)
    return ranked[np.arange(logits.shape[1]) < lengths[:, None]]


def _rank_all(lengths: np.ndarray, weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As `draw_distinct`, ranking every position for every row."""
    size = max(1, _CELLS_AT_ONCE // len(weights))
    parts = [np.empty(0, np.int64)]
    for start in range(0, len(lengths), size):
        batch = lengths[start : start + size]
        logits = np.broadcast_to(np.log(weights), (len(batch), len(weights)))
        parts.append(draw_by_logits(logits, batch, random))
    return np.concatenate(parts)
