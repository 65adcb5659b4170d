"""Training against a membership attack: an adversary learns to tell training users from users held
out of training by what the network predicts for them, and the network learns to leave it
guessing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.core.config import BaseConfig
from augrec.core.seeds import rng

_ATTACK_STEPS = 5
_WIDTH, _RATE = 16, 0.01
_EVIDENCE = 4

Predict = Callable[[torch.Tensor], torch.Tensor]
"""From profiles, 0/1 (B, n_items), to logits (B, n_items), without dropout or noise."""


class MembershipConfig(BaseConfig):
    """How much it counts that predictions do not disclose whom the network was trained on."""

    membership_weight: float = Field(0.0, ge=0)
    """Weight of what a membership attack gains, in units of the loss; 0 switches it off."""
    membership_reference: float = Field(0.2, gt=0, lt=1)
    """Share of the training users that the attack compares with the others. They are not trained
    on, which costs quality by itself; without `membership_weight` nobody is held out."""


class MembershipAdversary:
    """Min-max training (Nasr, Shokri, Houmansadr 2018, arXiv 1807.05852): the network descends on L
    + λ |L| G, where G = ln 2 + mean of ln h(member) and ln (1 - h(other)) over both groups is what
    the best attack h gains over guessing. h takes a few steps of its own before each step of the
    network.

    What h sees of a user: the mean log probability of the user's items where the whole history is
    read, the same of a random half where the other half is read, the entropy of the predictions,
    and the length of the history. λ is relative to the size of L, so that one value means the same
    for losses of different units.

    Held out are training users, never validation users: these are what `augrec.audit` measures the
    attack by.

    Args:
        config: see there.
        where: the device; draws come from torch's generator.
    """

    def __init__(self, config: MembershipConfig, where: torch.device) -> None:
        self._weight = config.membership_weight
        self._attack = nn.Sequential(
            nn.Linear(_EVIDENCE, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 1)
        ).to(where)
        self._optimiser = torch.optim.Adam(self._attack.parameters(), lr=_RATE)

    def penalised(
        self, loss: torch.Tensor, predict: Predict, members: torch.Tensor, others: torch.Tensor
    ) -> torch.Tensor:
        """The loss to descend on.

        Args:
            loss: L, a scalar.
            predict: see there.
            members, others: profiles, 0/1 (B, n_items) and (B', n_items).
        """
        evidence = _evidence(predict, torch.cat([members, others]))  # (B + B', 4)
        centre = evidence.detach()
        evidence = (evidence - centre.mean(0)) / centre.std(0).clamp(min=1e-6)
        is_member = torch.zeros(len(evidence), device=evidence.device)
        is_member[: len(members)] = 1
        balance = torch.where(is_member > 0, 0.5 / len(members), 0.5 / len(others))

        def cost(seen: torch.Tensor) -> torch.Tensor:
            found = self._attack(seen)[:, 0]
            return F.binary_cross_entropy_with_logits(found, is_member, balance, reduction="sum")

        for _ in range(_ATTACK_STEPS):
            self._optimiser.zero_grad()
            cost(evidence.detach()).backward()
            self._optimiser.step()
        gain = math.log(2) - cost(evidence)
        return loss + self._weight * loss.detach().abs() * gain


def held_out(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the users to train on and of those to hold out, int64, ascending; at least one
    of n ≥ 2 on each side."""
    order = rng(seed, "membership").permutation(n)
    few = min(max(1, round(share * n)), n - 1)
    return np.sort(order[few:]), np.sort(order[:few])


def _evidence(predict: Predict, profiles: torch.Tensor) -> torch.Tensor:
    """(n, 4) of profiles (n, n_items)."""
    read = profiles * (torch.rand_like(profiles) < 0.5)
    whole, half = predict(torch.cat([profiles, read])).log_softmax(1).chunk(2)
    return torch.stack(
        [
            _mean(whole, profiles),
            _mean(half, profiles - read),
            -(whole.exp() * whole).sum(1),
            profiles.sum(1).log1p(),
        ],
        dim=1,
    )


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The mean of each row's values where `where` is 1, (n,)."""
    return (values * where).sum(1) / where.sum(1).clamp(min=1)
