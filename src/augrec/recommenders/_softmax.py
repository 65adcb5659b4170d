"""Cross-entropy over the catalogue, in full or sampled, without a table of targets × items in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

_CELLS = 2**20
"""At most so many scores are held at once: 4 MiB of float32, which stay in a CPU's cache."""


def full(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_t w_t (log Σ_i exp s_ti - s_t,target(t)) with s_ti = states_t · items_i + bias_i; a scalar.

    The gradient is computed along with the value, a few rows at a time. It can be taken once.

    Args:
        states: float32 (T, d).
        items: float32 (n_items, d).
        bias: float32 (n_items,).
        targets: int64 (T,).
        weights: float32 (T,), constants.
    """
    return _Full.apply(states, items, bias, targets, weights)


def sampled(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    draws: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """As `full`, where the sum over the other items is estimated from draws, each divided by its expected number.

    The estimate of the sum is unbiased (Bengio & Senécal 2008). A target is no draw: its own term stays as it is.

    Args:
        states, items, bias, targets, weights: as for `full`.
        draws: from `Draws`, shared by all targets.
    """
    drawn, log_expected = draws
    others = torch.addmm(bias[drawn] - log_expected, states, items[drawn].T)  # (T, N)
    others = others.masked_fill(drawn == targets[:, None], -torch.inf)
    own = (states * items[targets]).sum(1) + bias[targets]
    total = torch.logsumexp(torch.cat([own[:, None], others], 1), 1)
    return ((total - own) * weights).sum()


class Draws:
    """Draws items, with replacement, in proportion to popularity to the power 3/4.

    Args:
        popularity: float32 (n_items,), not all 0.
        where: the device.
    """

    def __init__(self, popularity: np.ndarray, where: torch.device) -> None:
        chances = popularity.astype(np.float64) ** 0.75
        self._log_chances = (
            torch.from_numpy(np.log(np.maximum(chances / chances.sum(), 1e-30))).float().to(where)
        )
        self._sums = torch.from_numpy(np.cumsum(chances)).to(where)

    def __call__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """n items, int64 (n,), and ln of how often each is expected among n draws, float32 (n,)."""
        point = torch.rand(n, dtype=torch.float64, device=self._sums.device) * self._sums[-1]
        drawn = torch.searchsorted(self._sums, point, right=True).clamp(max=len(self._sums) - 1)
        return drawn, self._log_chances[drawn] + math.log(n)


class _Full(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        items: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        loss = torch.zeros((), device=states.device)
        gradients = torch.empty_like(states), torch.zeros_like(items), torch.zeros_like(bias)
        for rows in torch.arange(len(states), device=states.device).split(max(1, _CELLS // len(items))):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            loss += _rows(states[part], items, bias, targets[part], weights[part], gradients, part)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*(gradient * part for part in ctx.saved_tensors), None, None)


def _rows(
    states: torch.Tensor,
    items: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    part: slice,
) -> torch.Tensor:
    """The loss of some rows; adds to the gradients. One table (rows, n_items) is made and written over."""
    table = torch.addmm(bias, states, items.T)
    row = torch.arange(len(states), device=states.device)
    own, largest = table[row, targets], table.amax(1)
    total = table.sub_(largest[:, None]).exp_().sum(1)
    table.mul_((weights / total)[:, None])
    table[row, targets] -= weights
    torch.mm(table, items, out=gradients[0][part])
    gradients[1].addmm_(table.T, states)
    gradients[2].add_(table.sum(0))
    return ((total.log() + largest - own) * weights).sum()
