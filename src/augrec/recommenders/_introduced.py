"""Negatives that a training set names: items that its users most likely saw and left."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex


def named(
    interactions: pl.DataFrame, histories: Histories, items: ItemIndex
) -> sp.csr_matrix | None:
    """What each user left, 0/1 (n_users, n_items) in the order of `histories`; None where nothing
    is named.

    Args:
        interactions: rows of a training set, perhaps with `negative`.
        histories: of those who learn from it; rows of others are passed over, as are unknown items.
        items: the catalogue.
    """
    if C.NEGATIVE not in interactions.columns:
        return None
    places = pl.DataFrame(
        {C.USER: histories.users.tolist()}, schema={C.USER: pl.String}
    ).with_row_index("place")
    rows = interactions.filter(C.NEGATIVE).select(C.USER, C.ITEM).join(places, on=C.USER)
    position = items.encode(rows[C.ITEM])
    known = position >= 0
    where = (rows["place"].to_numpy()[known], position[known])
    matrix = sp.csr_matrix(
        (np.ones(len(where[0]), np.float32), where), shape=(len(histories), len(items))
    )
    return matrix if matrix.nnz else None


class Introduced:
    """Puts a user's own negatives in the place of some that were drawn; draws come from torch's
    generator.

    Args:
        left: what each user left, (n_users, n_items).
        share: the chance of each negative to become one of the user's own, for users who have some.
        where: the device.
    """

    def __init__(self, left: sp.csr_matrix, share: float, where: torch.device) -> None:
        self._share = share
        self._items = torch.from_numpy(left.indices.astype(np.int64)).to(where)
        self._starts = torch.from_numpy(left.indptr[:-1].astype(np.int64)).to(where)
        self._lengths = torch.from_numpy(np.diff(left.indptr).astype(np.int64)).to(where)

    def put(self, users: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """For users int64 (B,) the negatives int64 (B, N), some of them exchanged."""
        lengths = self._lengths[users][:, None]
        chance = torch.rand(drawn.shape, device=drawn.device)
        some = (torch.rand(drawn.shape, device=drawn.device) * lengths).long()
        entry = (self._starts[users][:, None] + some).clamp(max=len(self._items) - 1)
        return torch.where((chance < self._share) & (lengths > 0), self._items[entry], drawn)
