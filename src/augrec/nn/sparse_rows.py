"""Sparse matrices for torch: rows made dense a batch at a time, and torch's own sparse layout."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch


class SparseRows:
    """The rows of a sparse matrix on a device, made dense a batch at a time.

    Args:
        matrix: (n, m), each column at most once in a row; the explicit values become the dense
            values.
        device: where the rows are needed.
    """

    def __init__(self, matrix: sp.csr_matrix, device: torch.device) -> None:
        self.shape = matrix.shape
        lengths = np.diff(matrix.indptr).astype(np.int64)
        longest = int(lengths.max(initial=1))
        # `longest` entries follow the last row, so that no row is read past the end
        columns = np.pad(matrix.indices.astype(np.int64), (0, longest))
        values = np.pad(matrix.data.astype(np.float32), (0, longest))
        self._starts = torch.from_numpy(matrix.indptr[:-1].astype(np.int64)).to(device)
        self._lengths = torch.from_numpy(lengths).to(device)
        self._columns = torch.from_numpy(columns).to(device)
        self._values = torch.from_numpy(values).to(device)
        self._places = torch.arange(longest, device=device)

    def dense(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows at positions `rows`, int64 (B,), as float32 (B, m)."""
        if rows.is_cuda:
            return self._dense_padded(rows)
        lengths = self._lengths[rows]
        row = torch.repeat_interleave(lengths)  # (nnz of the batch,)
        firsts = lengths.cumsum(0) - lengths
        entries = torch.arange(len(row)) + (self._starts[rows] - firsts)[row]
        dense = torch.zeros(len(rows), self.shape[1])
        dense[row, self._columns[entries]] = self._values[entries]
        return dense

    def _dense_padded(self, rows: torch.Tensor) -> torch.Tensor:
        """The same; every shape depends on B alone, so that a CUDA graph can capture it. On a CPU
        the padding would cost more than it saves."""
        n_columns = self.shape[1]
        entries = self._starts[rows, None] + self._places  # (B, longest)
        inside = self._places < self._lengths[rows, None]
        columns = torch.where(inside, self._columns[entries], n_columns)
        dense = torch.zeros(len(rows), n_columns + 1, device=rows.device)
        return dense.scatter_(1, columns, self._values[entries])[:, :-1]


def torch_sparse(matrix: sp.csr_matrix) -> torch.Tensor:
    """The same matrix of floats in torch's compressed rows, on the CPU."""
    starts = torch.from_numpy(matrix.indptr.astype(np.int64))
    columns = torch.from_numpy(matrix.indices.astype(np.int64))
    values = torch.from_numpy(matrix.data)
    # torch warns that the layout is in beta
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return torch.sparse_csr_tensor(
            starts, columns, values, matrix.shape, check_invariants=False
        )
