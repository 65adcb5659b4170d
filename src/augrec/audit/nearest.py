"""Which profiles are alike: Jaccard similarity between sparse 0/1 rows, a batch at a time."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.data.histories import Histories, ItemIndex

_CELLS_AT_ONCE = 2**22


def profiles(interactions: pl.DataFrame, items: ItemIndex) -> sp.csr_matrix:
    """One 0/1 row float32 for each user in sorted order, (n_users, n_items); items outside the index are left out."""
    matrix = Histories.from_interactions(interactions, items).matrix()
    matrix.data[:] = 1.0
    return matrix


def nearest(
    queries: sp.csr_matrix, references: sp.csr_matrix, k: int = 1, *, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How like its nearest references each query is.

    Memory is bounded; time grows with the number of queries times the non-zeros of the references.

    Args:
        queries: 0/1 (n, n_items).
        references: 0/1 (m, n_items).
        k: the similarity is the mean over so many nearest references, or over all if there are fewer.
        own: int (n,), for each query a reference that is the same person and does not count.

    Returns:
        similarity float64 (n,), zero without references; position int64 (n,) of the nearest reference.
    """
    n, m = queries.shape[0], references.shape[0]
    similarity, position = np.zeros(n), np.zeros(n, np.int64)
    if not m:
        return similarity, position
    transposed, sizes = references.T.tocsr(), np.diff(references.indptr)
    step, k = max(1, _CELLS_AT_ONCE // m), min(k, m)
    for start in range(0, n, step):
        batch = queries[start : start + step]
        shared = (batch @ transposed).toarray()  # (B, m)
        union = np.diff(batch.indptr)[:, None] + sizes - shared
        jaccard = shared / np.maximum(union, 1.0)
        if own is not None:
            jaccard[np.arange(len(jaccard)), own[start : start + step]] = 0.0
        position[start : start + step] = jaccard.argmax(axis=1)
        similarity[start : start + step] = np.partition(jaccard, m - k, axis=1)[:, m - k :].mean(axis=1)
    return similarity, position


def fingerprints(matrix: sp.csr_matrix) -> np.ndarray:
    """A 16-byte key for each row, the same for equal profiles: object (n,)."""
    # two sums of random weights differ for different sets but for a chance of about 2**-128
    weights = np.random.default_rng(0).integers(0, 2**64, (matrix.shape[1], 2), dtype=np.uint64)
    keys = np.zeros((matrix.shape[0], 2), np.uint64)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    np.add.at(keys, rows, weights[matrix.indices])
    return keys.view([("first", np.uint64), ("second", np.uint64)]).ravel()


def some_rows(n: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Positions int64 of at most `most` of n rows, ascending."""
    return np.arange(n) if n <= most else np.sort(random.choice(n, most, replace=False))
