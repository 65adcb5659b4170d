"""Cross-entropy over the catalogue, in full or sampled, without a table of targets × items in
memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from augrec.nn.negatives import Drawn

_CELLS = 2**20
"""At most this number of scores is held at once: 4 MiB of float32, which stay in a CPU's cache."""


def full(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    left_out: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Σ_t w_t (log Σ_i exp s_ti - s_t,target(t)) with s_ti = states_t · items_i + bias_i; a scalar.

    The gradient is computed along with the value, a few rows at a time. It can be taken once.

    Args:
        states: float32 (T, d).
        items: float32 (n_items, d).
        bias: float32 (n_items,).
        targets: int64 (T,).
        weights: float32 (T,), constants.
        left_out: items that the sum over i leaves out for each target, never the target itself:
            where those of each begin, int64 (T + 1,), and the items, end to end; None: none.
    """
    return _Full.apply(states, items, bias, targets, weights, left_out)


def sampled(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    drawn: Drawn,
) -> torch.Tensor:
    """As `full`, where the sum over the other items is estimated from draws, each divided by its
    expected number.

    The estimate of the sum is unbiased (Bengio & Senécal 2008). A target is no draw: its own term
    stays as it is.

    Args:
        states, items, bias, targets, weights: as for `full`.
        drawn: N items, shared by all targets.
    """
    log_expected = drawn.log_chances + math.log(len(drawn.items))
    offset = bias[drawn.items] - log_expected + drawn.nudge
    others = torch.addmm(offset, states, items[drawn.items].T)  # (T, N)
    others = others.masked_fill(drawn.items == targets[:, None], -torch.inf)
    own = (states * items[targets]).sum(1) + bias[targets]
    total = torch.logsumexp(torch.cat([own[:, None], others], 1), 1)
    return ((total - own) * weights).sum()


class _Full(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        items: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        left_out: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        loss = torch.zeros((), device=states.device)
        gradients = torch.empty_like(states), torch.zeros_like(items), torch.zeros_like(bias)
        for rows in torch.arange(len(states), device=states.device).split(
            max(1, _CELLS // len(items))
        ):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            cells = None if left_out is None else _cells(*left_out, part)
            loss += _rows(
                states[part], items, bias, targets[part], weights[part], gradients, part, cells
            )
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*(gradient * part for part in ctx.saved_tensors), None, None, None)


def _rows(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    part: slice,
    left_out: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    """The loss of some rows; adds to the gradients. One table (rows, n_items) is made and written
    over."""
    table = torch.addmm(bias, states, items.T)
    if left_out is not None:
        table[left_out] = -torch.inf
    row = torch.arange(len(states), device=states.device)
    own, largest = table[row, targets], table.amax(1)
    total = table.sub_(largest[:, None]).exp_().sum(1)
    table.mul_((weights / total)[:, None])
    table[row, targets] -= weights
    torch.mm(table, items, out=gradients[0][part])
    gradients[1].addmm_(table.T, states)
    gradients[2].add_(table.sum(0))
    return ((total.log() + largest - own) * weights).sum()


def _cells(
    starts: torch.Tensor, items: torch.Tensor, part: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """What some targets leave out, as rows and columns of their table."""
    bounds = starts[part.start : part.stop + 1]
    row = torch.repeat_interleave(bounds.diff())
    return row, items[int(bounds[0]) : int(bounds[-1])]
