"""Blocks of code in which torch repeats a computation exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Use `threads` CPU threads inside the block: sums run in the same order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Inside the block torch draws from `seed`, uses `threads` CPU threads, and only algorithms
    that repeat exactly.

    Afterwards all of it, the random state included, is as it was before.
    """
    # without it cuBLAS may not repeat exactly
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    # by default new memory is then filled with NaN, which takes a fifth of the time of training
    was_filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng(), fixed_threads(threads):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_deterministic)
            deterministic.fill_uninitialized_memory = was_filled  # type: ignore[attr-defined]
