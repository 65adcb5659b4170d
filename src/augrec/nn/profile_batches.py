"""Training users as dense batches of 0/1 profiles, some of them truncated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from augrec.data.histories import Histories
from augrec.nn.sparse_rows import SparseRows

_COLD = 5
"""The most items of a truncated history."""


@dataclass(frozen=True)
class ProfileBatch:
    """B users.

    Attributes:
        x: what the encoder reads, 0/1 (B, n_items), and `whole`, the same before histories were
            truncated.
        w: the weights of all their items, which are to be predicted, (B, n_items).
        weights: mean weight of each user's entries, (B,).
    """

    x: torch.Tensor
    whole: torch.Tensor
    w: torch.Tensor
    weights: torch.Tensor


class ProfileBatches:
    """Training users as dense batches.

    Args:
        histories: of the training users; entries that are targets only are never read.
        where: the device; draws come from torch's generator.
    """

    def __init__(self, histories: Histories, where: torch.device) -> None:
        targets = histories.matrix()
        weights = np.asarray(targets.sum(1)).ravel() / targets.getnnz(1)
        self._n, self._where = len(histories), where
        self._places, self._targets = (
            SparseRows(_places(histories), where),
            SparseRows(targets, where),
        )
        self._weights = torch.from_numpy(weights).float().to(where)

    def batches(self, size: int, steps: int, truncate: float) -> Iterator[ProfileBatch]:
        """`steps` batches of `size` users; every user once before any comes again."""
        for users in _users(self._n, size, steps, self._where):
            yield self.batch(users, truncate)

    def batch(self, users: torch.Tensor, truncate: float) -> ProfileBatch:
        """The users at positions `users`, int64 (B,); the share `truncate` of them is read no
        further than `_COLD` items."""
        place = self._places.dense(
            users
        )  # (B, n_items): 1 for the first item met, 0 for those that were not
        whole = read = place > 0
        if truncate:
            cut = torch.rand(len(users), device=self._where) < truncate
            longest = torch.randint(1, _COLD + 1, (len(users),), device=self._where)
            read = whole & (~cut[:, None] | (place <= longest[:, None]))
        return ProfileBatch(
            read.float(), whole.float(), self._targets.dense(users), self._weights[users]
        )


def _places(histories: Histories) -> sp.csr_matrix:
    """Float32 (n, n_items): the place of each observed item in its user's history, counted from 1,
    at its first meeting."""
    kept = histories.keep(histories.observed)
    places = np.arange(len(kept.items)) - np.repeat(kept.indptr[:-1], kept.lengths)
    rows = np.repeat(np.arange(len(kept)), kept.lengths)
    _, first = np.unique(rows * np.int64(kept.n_items) + kept.items, return_index=True)
    values = (places[first] + 1).astype(np.float32)
    return sp.csr_matrix(
        (values, (rows[first], kept.items[first])), shape=(len(kept), kept.n_items)
    )


def _users(n: int, size: int, steps: int, where: torch.device) -> Iterator[torch.Tensor]:
    taken = 0
    while True:
        for users in torch.randperm(n).to(where).split(size):
            if taken == steps:
                return
            taken += 1
            yield users
