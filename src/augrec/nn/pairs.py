"""Users and positives for ranking losses, drawn on the device, and what each user never met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from augrec.data.histories import Histories


@dataclass(frozen=True)
class History:
    """Histories end to end, as `embedding_bag` takes them.

    Attributes:
        items: int64 (nnz,).
        starts: where each history begins, int64 (B,).
        lengths: int64 (B,).
    """

    items: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, matrix: sp.csr_matrix, where: torch.device) -> History:
        """The rows of a matrix (B, n_items)."""
        indptr = torch.from_numpy(matrix.indptr.astype(np.int64)).to(where)
        items = torch.from_numpy(matrix.indices.astype(np.int64)).to(where)
        return cls(items, indptr[:-1], indptr.diff())

    def rows(self, users: torch.Tensor) -> History:
        """The histories of `users`, int64 (B,)."""
        lengths = self.lengths[users]
        starts = lengths.cumsum(0) - lengths
        entry = torch.arange(int(lengths.sum()), device=users.device) + torch.repeat_interleave(
            self.starts[users] - starts, lengths
        )
        return History(self.items[entry], starts, lengths)


@dataclass(frozen=True)
class PairBatch:
    """B users with P positives each.

    Attributes:
        users: int64 (B,).
        history: what the users met, the observed entries.
        positives: int64 (B, P).
        met: whether the positive is part of the history, bool (B, P).
    """

    users: torch.Tensor
    history: History
    positives: torch.Tensor
    met: torch.Tensor


class Pairs:
    """Draws users and positives in proportion to weight.

    Args:
        histories: the training histories.
        where: the device; draws come from torch's generator there.
    """

    def __init__(self, histories: Histories, where: torch.device) -> None:
        wanted = histories.matrix()
        seen = wanted if histories.observed.all() else histories.matrix(observed_only=True)
        self._n_items = histories.n_items
        self._keys = torch.from_numpy(_keys(wanted)).to(where)  # sorted
        observed = (
            np.ones(wanted.nnz, np.bool_) if seen is wanted else np.isin(_keys(wanted), _keys(seen))
        )
        self._observed = torch.from_numpy(observed).to(where)
        self._history = History.of(seen, where)
        sums = np.concatenate([[0.0], np.cumsum(wanted.data, dtype=np.float64)])
        self._sums = torch.from_numpy(sums).to(where)
        self._before = torch.from_numpy(sums[wanted.indptr[:-1]]).to(where)  # (n_users,)
        self._after = torch.from_numpy(sums[wanted.indptr[1:]]).to(where)
        self._alike = bool((wanted.data == 1).all())

    def draw(self, n_users: int, n_positives: int) -> PairBatch:
        """A batch; a user with twice the weight is drawn twice as often."""
        where = self._sums.device
        first = self._entry(torch.rand(n_users, dtype=torch.float64, device=where) * self._sums[-1])
        users = self._keys[first] // self._n_items
        low, high = self._before[users, None], self._after[users, None]
        share = torch.rand(n_users, n_positives, dtype=torch.float64, device=where)
        entry = self._entry(low + share * (high - low))
        positives = self._keys[entry] - users[:, None] * self._n_items
        return PairBatch(users, self._history.rows(users), positives, self._observed[entry])

    def unmet(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Where the user never meets the item, bool, for users, int64 (B,), and items, int64 (B,
        …)."""
        return ~among(self._keys, users.view(-1, *[1] * (items.dim() - 1)) * self._n_items + items)

    def _entry(self, point: torch.Tensor) -> torch.Tensor:
        """The training entry at a point of the running sum of weights."""
        return place(self._sums[1:], point, self._alike).clamp(max=len(self._keys) - 1)


def place(sums: torch.Tensor, point: torch.Tensor, alike: bool) -> torch.Tensor:
    """How many of the running sums, float64 (n,), are at most each point; `alike`: they are 1, 2, …
    n."""
    return point.long() if alike else torch.searchsorted(sums, point, right=True)


def among(keys: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Which of `asked` are among the sorted `keys`, bool like `asked`."""
    return keys[torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)] == asked


def _keys(matrix: sp.csr_matrix) -> np.ndarray:
    """user × n_items + item of each entry, int64 (nnz,)."""
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return users * matrix.shape[1] + matrix.indices
