"""Jaccard similarity between user profiles, which are sparse 0/1 rows; computed in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.data.histories import Histories, ItemIndex

_CELLS_AT_ONCE = 2**22


def profiles(interactions: pl.DataFrame, items: ItemIndex) -> sp.csr_matrix:
    """0/1 rows, float32 (n_users, n_items), one for each user in sorted order; items that are not
    in the index are left out."""
    matrix = Histories.from_interactions(interactions, items).matrix()
    matrix.data[:] = 1.0
    return matrix


def nearest(
    queries: sp.csr_matrix, references: sp.csr_matrix, k: int = 1, *, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The similarity of each query to its nearest references.

    Memory is bounded; time grows with the number of queries times the non-zeros of the references.

    Args:
        queries: 0/1 (n, n_items).
        references: 0/1 (m, n_items).
        k: the similarity is the mean over the k nearest references, or over all if there are fewer.
        own: int (n,), for each query the reference of the same user, which does not count.

    Returns:
        similarity float64 (n,), zero without references; position int64 (n,) of the nearest
        reference.
    """
    n, m = queries.shape[0], references.shape[0]
    similarity, position = np.zeros(n), np.zeros(n, np.int64)
    if not m:
        return similarity, position
    k = min(k, m)
    for rows, jaccard in similarity_blocks(queries, references, own=own):
        position[rows] = jaccard.argmax(axis=1)
        similarity[rows] = np.partition(jaccard, m - k, axis=1)[:, m - k :].mean(axis=1)
    return similarity, position


def similarity_blocks(
    queries: sp.csr_matrix, references: sp.csr_matrix, *, own: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of queries, each with its Jaccard similarities (B, m); see `nearest`."""
    m = references.shape[0]
    transposed, sizes = references.T.tocsr(), np.diff(references.indptr)
    step = max(1, _CELLS_AT_ONCE // max(m, 1))
    for start in range(0, queries.shape[0], step):
        batch = queries[start : start + step]
        shared = (batch @ transposed).toarray()  # (B, m)
        union = np.diff(batch.indptr)[:, None] + sizes - shared
        jaccard = shared / np.maximum(union, 1.0)
        if own is not None:
            jaccard[np.arange(len(jaccard)), own[start : start + step]] = 0.0
        yield slice(start, start + len(jaccard)), jaccard
