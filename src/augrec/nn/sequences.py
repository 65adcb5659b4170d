"""Histories as sequences: windows of a bounded length, cut into batches on the device without a
loop over users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from augrec.data.histories import Histories


def distinct(histories: Histories) -> Histories:
    """The same users with each item once, at the place where it was met last.

    It keeps its largest weight, and is observed if it ever was.
    """
    keys = (
        np.repeat(np.arange(len(histories)) * histories.n_items, histories.lengths)
        + histories.items
    )
    last = np.unique(keys[::-1], return_index=True)[1]
    if len(last) == len(keys):
        return histories
    keep = np.zeros(len(keys), np.bool_)
    keep[len(keys) - 1 - last] = True
    _, group = np.unique(keys, return_inverse=True)
    weights, observed = np.zeros(len(last), np.float32), np.zeros(len(last), np.bool_)
    np.maximum.at(weights, group, histories.weights)
    np.logical_or.at(observed, group, histories.observed)
    return replace(histories, weights=weights[group], observed=observed[group]).keep(keep)


@dataclass(frozen=True)
class Sequences:
    """B sequences of items end to end; an empty place stands before the first item of each.

    Attributes:
        items: int64 (N,), 0 at the empty places.
        lengths: places of each, int64 (B,), at least 1; N is their sum.
    """

    items: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def cut(cls, items: torch.Tensor, starts: torch.Tensor, counts: torch.Tensor) -> Sequences:
        """items[start : start + count] for each start, int64 (B,), and count, int64 (B,)."""
        lengths = counts + 1
        firsts = lengths.cumsum(0) - lengths
        source = ranges(starts - 1, lengths).clamp(min=0)
        found = items[source] if len(items) else source
        found[firsts] = 0
        return cls(found, lengths)

    @cached_property
    def firsts(self) -> torch.Tensor:
        """Where each sequence begins, int64 (B,)."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def places(self) -> torch.Tensor:
        """Each place within its sequence, 0 the empty one; int64 (N,)."""
        return ranges(torch.zeros_like(self.lengths), self.lengths)

    @cached_property
    def padded(self) -> torch.Tensor:
        """Row × L + place in a table (B, L), padded on the right to the longest sequence; int64
        (N,)."""
        row = torch.repeat_interleave(self.lengths)
        return row * self.longest + self.places

    @cached_property
    def longest(self) -> int:
        """L."""
        return int(self.lengths.max())

    def pad(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, d) → (B, L, d), zeros on the right."""
        table = vectors.new_zeros(len(self.lengths) * self.longest, vectors.shape[1])
        return table.index_copy(0, self.padded, vectors).view(len(self.lengths), self.longest, -1)

    def unpad(self, table: torch.Tensor) -> torch.Tensor:
        """(B, L, d) → (N, d)."""
        return table.flatten(0, 1).index_select(0, self.padded)


def latest(histories: Histories, length: int, where: torch.device) -> Sequences:
    """The last `length` distinct items of each history, on the device."""
    histories = distinct(histories)
    counts = np.minimum(histories.lengths, length)
    starts = histories.indptr[1:] - counts
    return Sequences.cut(
        *(torch.from_numpy(x.astype(np.int64)).to(where) for x in (histories.items, starts, counts))
    )


def ranges(starts: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """start, start + 1, … start + length - 1 for each start and length, end to end; int64."""
    row = torch.repeat_interleave(lengths)
    return torch.arange(len(row), device=row.device) + (starts - lengths.cumsum(0) + lengths)[row]


@dataclass(frozen=True)
class WindowBatch:
    """Windows and the T targets to be predicted from them.

    Attributes:
        windows: what is read.
        states: the place in `windows` after whose item the target is predicted, int64 (T,).
        targets: int64 (T,).
        weights: float32 (T,).
    """

    windows: Sequences
    states: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


class Windows:
    """The training histories, cut into windows of at most `length` inputs that overlap by half.

    Inputs are the observed entries. Every entry is the target of one window, and is predicted from
    the inputs before it: the first window predicts all its entries, later ones those with at least
    half a window of inputs before them.

    Args:
        histories: the training histories.
        length: at least 1.
        where: the device.

    Attributes:
        weight: mean over windows of the weight of a window's targets.
        users: the position of each window's user among the histories, int64 (number of windows,).
    """

    def __init__(self, histories: Histories, length: int, where: torch.device) -> None:
        histories = distinct(histories)
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        before = (
            np.cumsum(histories.observed) - histories.observed
        )  # inputs before each entry, of all users
        first = np.concatenate([before, [histories.observed.sum()]])[
            histories.indptr[:-1]
        ]  # (n_users,)
        state = before - first[users]
        stride = max(1, length // 2)
        number = np.maximum(0, -(-(state - length) // stride))  # of the window among the user's
        begins = np.ones(len(users), np.bool_)
        begins[1:] = (users[1:] != users[:-1]) | (number[1:] != number[:-1])
        ends = np.append(begins[1:], True)

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(where)

        self._inputs = tensor(histories.items[histories.observed].astype(np.int64))
        self.users = tensor(users[begins])
        self._start = tensor((first[users] + number * stride)[begins])  # of a window's inputs
        self._length = tensor((state - number * stride)[ends])  # inputs before its last target
        self._first = tensor(np.append(np.flatnonzero(begins), len(users)))  # of a window's targets
        self._state = tensor(state - number * stride)
        self._targets = tensor(histories.items.astype(np.int64))
        self._weights = tensor(histories.weights)
        self.weight = float(histories.weights.sum(dtype=np.float64)) / len(self)

    def __len__(self) -> int:
        return len(self._start)

    def draw(self, size: int, steps: int, ahead: int) -> Iterator[WindowBatch]:
        """`steps` batches of `size` windows; every window once before any comes again.

        Args:
            size: the last batch before all windows begin anew may be smaller.
            steps: how many.
            ahead: a target is predicted from the state right before it or up to this number less
                one earlier, all of them alike, but not from nothing where something was read.
        """
        taken = 0
        while True:
            for windows in torch.randperm(len(self)).to(self._start.device).split(size):
                if taken == steps:
                    return
                taken += 1
                yield self.cut(windows, ahead)

    def cut(self, windows: torch.Tensor, ahead: int = 1) -> WindowBatch:
        """The batch of some windows, int64 (B,)."""
        counts = self._first[windows + 1] - self._first[windows]
        entry = ranges(self._first[windows], counts)  # (T,)
        read = Sequences.cut(self._inputs, self._start[windows], self._length[windows])
        state = self._state[entry]
        if ahead > 1:
            reach = state.clamp(max=ahead)  # not back to nothing
            state = state - (torch.rand(state.shape, device=state.device) * reach).long()
        place = torch.repeat_interleave(read.firsts, counts) + state
        return WindowBatch(read, place, self._targets[entry], self._weights[entry])
