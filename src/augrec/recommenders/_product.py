"""Sparse times sparse that is wanted as a table: SciPy where it is small, torch's MKL, several
times faster, where large."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

_ROWS = 1024
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
    product = np.empty(shape, left.dtype)
    for start in range(
        0, len(product), _ROWS
    ):  # as a whole, the sparse product may be larger than the table
        product[start : start + _ROWS] = (left[start : start + _ROWS] @ right).toarray()
    return product


def is_large(left: sp.csr_matrix, right: sp.csr_matrix) -> bool:
    """Whether it pays to load torch for left @ right."""
    return n_multiplications(left, right) > _LARGE
