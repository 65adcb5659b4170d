"""What neural recommenders share: reproducible torch, and sparse rows that become dense batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
import torch


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Inside the block torch draws from `seed`, uses `threads` CPU threads, and only algorithms that repeat exactly.

    Afterwards all of it, the random state included, is as it was before.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may not repeat exactly
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])


class Rows:
    """The rows of a sparse matrix on a device, made dense a batch at a time; nothing is converted twice.

    Args:
        matrix: (n, m); its explicit values become the dense values.
        where: the device.
    """

    def __init__(self, matrix: sp.csr_matrix, where: torch.device) -> None:
        self.n_columns = matrix.shape[1]
        self._starts = torch.from_numpy(matrix.indptr.astype(np.int64)).to(where)
        self._columns = torch.from_numpy(matrix.indices.astype(np.int64)).to(where)
        self._values = torch.from_numpy(matrix.data.astype(np.float32)).to(where)

    def dense(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows `rows`, int64 (B,), as float32 (B, m)."""
        starts, lengths = self._starts[rows], self._starts[rows + 1] - self._starts[rows]
        row = torch.repeat_interleave(
            torch.arange(len(rows), device=rows.device), lengths
        )  # (nnz of the batch,)
        first = lengths.cumsum(0) - lengths
        entry = torch.arange(len(row), device=rows.device) + (starts - first)[row]
        table = torch.zeros(len(rows), self.n_columns, device=rows.device)
        table[row, self._columns[entry]] = self._values[entry]
        return table
