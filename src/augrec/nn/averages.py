"""Exponential moving averages of a network's weights."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Number = TypeVar("Number", float, Tensor)


def average_share(decay: float, updates: Number) -> Number:
    """What an average takes in of the current weights: 1 - decay, and more while it is young.

    The first weights would otherwise stay in it for long.

    Args:
        decay: what an old average keeps.
        updates: how many came before; a number, or a 0-dimensional tensor that stays on its device.
    """
    kept = (1.0 + updates) / (10.0 + updates)
    return 1.0 - (kept.clamp(max=decay) if isinstance(kept, Tensor) else min(kept, decay))


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, share: float | Tensor) -> None:
    """Move the weights of `average` by `share` of the way to those of `network`, in place."""
    olds: list[Tensor] = list(average.parameters())
    news: list[Tensor] = list(network.parameters())
    if isinstance(share, Tensor):
        torch._foreach_lerp_(olds, news, [share] * len(olds))
    else:
        torch._foreach_lerp_(olds, news, share)


class MovingAverage(nn.Module):
    """A copy of a network that follows it: `module` holds the average of the weights.

    Args:
        network: what is averaged.
        decay: of the average, once it is old.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        device = next(network.parameters()).device
        self.register_buffer("updates", torch.zeros((), device=device))

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take in the network's weights; nothing leaves the device."""
        self.updates.add_(1.0)
        move_average(self.module, network, average_share(self._decay, self.updates))
