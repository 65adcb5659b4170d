"""Rows of a table by position, with gradients that are added up in place: several times faster than
torch's own on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


def take(table: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """table[positions], shape of `positions` + (width,) for a table (n, width), or its shape for
    one (n,)."""
    return _Take.apply(table, positions)


def sums(
    table: torch.Tensor, positions: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Sums of rows of `table`, (n, width), over bags that lie end to end: (B, width); an empty bag
    gives 0.

    Args:
        table: float32 (n, width).
        positions: rows of it, int64 (nnz,).
        starts, lengths: where each bag begins and its length, int64 (B,).
    """
    return _Sums.apply(table, positions, starts, lengths)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(positions)
        ctx.shape = table.shape
        return table.index_select(0, positions.flatten()).view(*positions.shape, *table.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        [positions], [gradient] = ctx.saved_tensors, gradients
        rows = gradient.reshape(-1, *ctx.shape[1:])
        return gradient.new_zeros(ctx.shape).index_add_(0, positions.flatten(), rows), None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: torch.Tensor,
        positions: torch.Tensor,
        starts: torch.Tensor,
        lengths: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(positions, lengths)
        ctx.shape = table.shape
        return F.embedding_bag(positions, table, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        [positions, lengths], [gradient] = ctx.saved_tensors, gradients
        rows = torch.repeat_interleave(gradient, lengths, dim=0)  # (nnz, width)
        return gradient.new_zeros(ctx.shape).index_add_(0, positions, rows), None, None, None
