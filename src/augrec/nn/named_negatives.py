"""Negatives that a training set names, such as items that a user most likely saw and left."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch


class NamedNegatives:
    """Replaces some of the drawn negatives by those that the training set names for the user; draws
    come from torch's generator.

    Args:
        named: each user's negatives, 0/1 (n_users, n_items), see `TrainingData.named_negatives`.
        share: the chance of a drawn negative to be replaced, for users who have named ones.
        device: where they are needed.
    """

    def __init__(self, named: sp.csr_matrix, share: float, device: torch.device) -> None:
        self._share = share
        self._items = torch.from_numpy(named.indices.astype(np.int64)).to(device)
        self._starts = torch.from_numpy(named.indptr[:-1].astype(np.int64)).to(device)
        self._lengths = torch.from_numpy(np.diff(named.indptr).astype(np.int64)).to(device)

    def put(self, users: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """For users int64 (B,) the negatives int64 (B, N), some of them replaced."""
        lengths = self._lengths[users][:, None]
        chance = torch.rand(drawn.shape, device=drawn.device)
        some = (torch.rand(drawn.shape, device=drawn.device) * lengths).long()
        entry = (self._starts[users][:, None] + some).clamp(max=len(self._items) - 1)
        return torch.where((chance < self._share) & (lengths > 0), self._items[entry], drawn)
