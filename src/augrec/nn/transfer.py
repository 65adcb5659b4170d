"""Weights of one fitted network as the start of another's training."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from augrec.core.errors import InputError
from augrec.data.histories import ItemIndex


@torch.no_grad()
def transfer(
    network: torch.nn.Module, start: torch.nn.Module, items: ItemIndex, start_items: ItemIndex
) -> None:
    """Copy the weights of `start` into `network`, so that training starts from them.

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
            f"training cannot start from this model: its {name} is {tuple(start)}, here it is "
            f"{tuple(shape)}",
            where="training data, previous",
            fix="train in full once, or give the network the size it has there",
        )
