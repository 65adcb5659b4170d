"""Training examples of the kind a recommender is judged by: a user at a moment, what came before
and what comes later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from augrec.data.histories import Histories
from augrec.nn.pairs import History, among

COLD = 5
"""The most items of a truncated history."""


@dataclass(frozen=True)
class PrefixBatch:
    """B users at a moment each, and P later entries of each.

    Attributes:
        users: int64 (B,).
        entries: the first entry after the moment, int64 (B,).
        history: the observed entries before it.
        later: entries from the moment on, drawn in proportion to weight, int64 (B, P).
    """

    users: torch.Tensor
    entries: torch.Tensor
    history: History
    later: torch.Tensor


class PrefixSampler:
    """Draws users in proportion to their total weight, and for each a moment between two of the
    user's entries.

    Entries of weight 0 are read, and never drawn as later ones; every moment has an entry of some
    weight after it.

    Args:
        histories: the training histories, oldest entry first.
        where: the device; draws come from torch's generator there.
    """

    def __init__(self, histories: Histories, where: torch.device) -> None:
        self._n_items = histories.n_items
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        first = _first_met(users * histories.n_items + histories.items, histories.observed)
        counts = np.concatenate([[0], np.cumsum(first)])
        keys = np.unique(users * np.int64(histories.n_items) + histories.items)
        sums = np.concatenate([[0.0], np.cumsum(histories.weights, dtype=np.float64)])
        last = (
            np.searchsorted(sums, sums[histories.indptr[1:]], side="left") - 1
        )  # entry of some weight
        arrays = (
            histories.indptr,
            counts,
            histories.items[first].astype(np.int64),
            keys,
            sums,
            last,
        )
        self._starts, self._read, self._seen, self._keys, self._sums, self._last = (
            torch.from_numpy(array).to(where) for array in arrays
        )

    def draw(self, n_users: int, n_later: int, truncate: float) -> PrefixBatch:
        """A batch; the share `truncate` of the moments comes after at most `COLD` entries, all
        others are even."""
        where = self._sums.device
        point = torch.rand(n_users, dtype=torch.float64, device=where) * self._sums[-1]
        users = torch.searchsorted(self._starts, self._entry(point), right=True) - 1
        start, stop = self._starts[users], self._starts[users + 1]
        latest = self._last[users] - start
        cold = torch.rand(n_users, dtype=torch.float64, device=where) < truncate
        latest = torch.where(cold, latest.clamp(max=COLD), latest)
        share = torch.rand(n_users, dtype=torch.float64, device=where)
        moment = start + (share * (latest + 1)).long().clamp(max=latest)
        low, high = self._sums[moment, None], self._sums[stop, None]
        points = torch.rand(n_users, n_later, dtype=torch.float64, device=where)
        later = self._entry(low + points * (high - low)).clamp(
            min=moment[:, None], max=stop[:, None] - 1
        )
        return PrefixBatch(users, moment, self._before(start, moment), later)

    def unmet(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Where the user never meets the item, bool (B, N), for users, int64 (B,), and items, int64
        (N,)."""
        return ~among(self._keys, users[:, None] * self._n_items + items)

    def _entry(self, point: torch.Tensor) -> torch.Tensor:
        """The entry at a point of the running sum of weights."""
        return (torch.searchsorted(self._sums, point, right=True) - 1).clamp(
            max=len(self._sums) - 2
        )

    def _before(self, start: torch.Tensor, moment: torch.Tensor) -> History:
        """The distinct observed items of the entries start … moment - 1."""
        low = self._read[start]
        lengths = self._read[moment] - low
        starts = lengths.cumsum(0) - lengths
        entry = torch.arange(int(lengths.sum()), device=low.device)
        return History(
            self._seen[entry + torch.repeat_interleave(low - starts, lengths)], starts, lengths
        )


def _first_met(keys: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Whether an entry is the first observed one of its user and item, bool (nnz,)."""
    places = np.flatnonzero(observed)
    first = np.zeros(len(keys), np.bool_)
    first[places[np.unique(keys[places], return_index=True)[1]]] = True
    return first
