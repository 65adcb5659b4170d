"""Sparse times sparse that is wanted as a table: SciPy's own loop where it is small, torch's MKL,
several times faster, where large."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse import _sparsetools

_CELLS = 2**19
"""Numbers of the table that the loop is given room for at once."""
_LARGE = 2**28
"""From this number of multiplications on it pays to load torch, which takes a second and 250 MB."""


def n_multiplications(left: sp.csr_matrix, right: sp.csr_matrix) -> int:
    """How many `left` @ `right` takes."""
    return int(right.getnnz(1)[left.indices].sum(dtype=np.int64))


def dense_product(left: sp.csr_matrix, right: sp.csr_matrix, *, large: bool) -> np.ndarray:
    """left @ right as a table, in their common float type.

    Args:
        left, right: (n, l) and (l, m).
        large: whether the whole computation that this is part of `is_large`.
    """
    shape = (left.shape[0], right.shape[1])
    if large:
        import torch

        from augrec.nn.sparse_rows import torch_sparse

        if torch.backends.mkl.is_available():
            empty = torch.zeros(shape, dtype=torch.from_numpy(left.data).dtype)
            return torch.addmm(empty, torch_sparse(left), torch_sparse(right), beta=0.0).numpy()
    return _by_rows(left, right)


def _by_rows(left: sp.csr_matrix, right: sp.csr_matrix) -> np.ndarray:
    """left @ right as a table, a few rows at once.

    `left @ right` first passes over all products to count the entries of the result, a third of the
    time. Here every cell has room.
    """
    n, m = left.shape[0], right.shape[1]
    product = np.zeros((n, m), left.dtype)
    size = min(n, max(1, _CELLS // max(m, 1)))
    index = np.int32 if max(left.nnz, right.nnz, size * m) < 2**31 else np.int64
    rows, columns, values = (
        np.empty(size + 1, index),
        np.empty(size * m, index),
        np.empty(size * m, left.dtype),
    )
    starts = left.indptr.astype(index, copy=False)
    taken = left.indices.astype(index, copy=False), left.data
    given = right.indptr.astype(index, copy=False), right.indices.astype(index, copy=False)
    for start in range(0, n, size):
        part = starts[start : start + size + 1]
        found = rows[: len(part)]
        _sparsetools.csr_matmat(
            len(part) - 1, m, part, *taken, *given, right.data, found, columns, values
        )
        _sparsetools.csr_todense(
            len(part) - 1, m, found, columns, values, product[start : start + size]
        )
    return product


def is_large(left: sp.csr_matrix, right: sp.csr_matrix) -> bool:
    """Whether it pays to load torch for left @ right."""
    return n_multiplications(left, right) > _LARGE
