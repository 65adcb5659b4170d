"""What neural recommenders share: reproducible torch, and sparse rows that become dense batch by
batch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from torch.utils import deterministic

from augrec.core.errors import InputError
from augrec.data.histories import ItemIndex


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Inside the block torch draws from `seed`, uses `threads` CPU threads, and only algorithms
    that repeat exactly.

    Afterwards all of it, the random state included, is as it was before.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # without it cuBLAS may not repeat exactly
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    # torch fills new memory with NaN, to find what reads it: a fifth of the time of training
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def sparse(matrix: sp.csr_matrix) -> torch.Tensor:
    """The same matrix, floats, as torch's compressed rows on the CPU."""
    starts = torch.from_numpy(matrix.indptr.astype(np.int64))
    columns = torch.from_numpy(matrix.indices.astype(np.int64))
    with warnings.catch_warnings(
        action="ignore", category=UserWarning
    ):  # torch calls the layout new
        return torch.sparse_csr_tensor(
            starts, columns, torch.from_numpy(matrix.data), matrix.shape, check_invariants=False
        )


class Rows:
    """The rows of a sparse matrix on a device, made dense a batch at a time; nothing is converted
    twice.

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


@torch.no_grad()
def transfer(
    network: torch.nn.Module, start: torch.nn.Module, items: ItemIndex, start_items: ItemIndex
) -> None:
    """Let training of `network` begin at the weights of `start`.

    The class of the network says which of its parameters and buffers hold a row for each item, and
    along which axis, e.g. `ITEM_PARAMETERS = {"read.weight": 1, "write.bias": 0}`. Those are
    carried over item by item; items that `start` does not know keep what `network` has, and so
    begin as in any training. Rows that stand behind the items', such as one for padding, are
    carried over in their order. All other parameters are copied.

    Args:
        network: built and initialised for `items`; changed in place.
        start: of the same class, fitted on `start_items`.

    Raises:
        InputError: a parameter has another shape, because the network is built from another config.
    """
    rows = start_items.encode(pl.Series(items.ids, dtype=pl.String))
    known = np.flatnonzero(rows >= 0)
    here, there = torch.from_numpy(known), torch.from_numpy(rows[known].astype(np.int64))
    old = start.state_dict()
    for name, tensor in network.state_dict().items():  # shares its memory with the network
        axis = getattr(network, "ITEM_PARAMETERS", {}).get(name)
        if axis is None:
            _fits(name, tensor.shape, old[name].shape)
            tensor.copy_(old[name])
            continue
        new_rows, old_rows = tensor.movedim(axis, 0), old[name].movedim(axis, 0)
        behind, old_behind = new_rows[len(items) :], old_rows[len(start_items) :]
        _fits(name, behind.shape, old_behind.shape)
        behind.copy_(old_behind)
        new_rows[here.to(tensor.device)] = old_rows[there.to(old_rows.device)].to(tensor.device)


def _fits(name: str, shape: torch.Size, start: torch.Size) -> None:
    if shape != start:
        raise InputError(
            f"training cannot begin at this model: its {name} is {tuple(start)}, here it is "
            f"{tuple(shape)}",
            where="fit, start",
            fix="train in full once, or give the network the size it has there",
        )


@torch.inference_mode()
def with_column(table: torch.Tensor, column: torch.Tensor) -> np.ndarray:
    """The table (n, d) and a further column (n,) beside it, float32 (n, d + 1)."""
    return torch.cat([table, column[:, None]], 1).float().cpu().numpy()
