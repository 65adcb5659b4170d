"""The two networks of the profile GAN, its losses, and the small things a training loop needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Literal["relativistic", "wasserstein"]


class ProfileGenerator(nn.Module):
    """Noise and condition to one logit for each item.

    Args:
        noise: width of the noise.
        condition: width of the condition.
        hidden: width of both hidden layers.
        n_items: size of the catalogue.
    """

    def __init__(self, noise: int, condition: int, hidden: int, n_items: int) -> None:
        super().__init__()
        self.layers = _perceptron(noise + condition, hidden, n_items)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Logits float32 (B, n_items) from noise (B, noise) and condition (B, condition)."""
        return self.layers(torch.cat([noise, condition], dim=1))

    def start_at(self, shares: np.ndarray) -> None:
        """Let every profile begin at the items' popularity: `shares` float (n_items,) of users who have the item."""
        last = cast(nn.Linear, self.layers[-1])
        with torch.no_grad():
            last.bias.copy_(torch.logit(torch.as_tensor(shares, dtype=torch.float32)))


class ProfileCritic(nn.Module):
    """How real a profile looks under its condition; larger is more real."""

    def __init__(self, condition: int, hidden: int, n_items: int) -> None:
        super().__init__()
        self.layers = _perceptron(n_items + condition, hidden, 1)

    def forward(self, profiles: Tensor, condition: Tensor) -> Tensor:
        """Scores float32 (B,) of profiles (B, n_items); long profiles are scaled to the norm of short ones."""
        scaled = profiles / profiles.sum(dim=1, keepdim=True).clamp(min=1.0).sqrt()
        return self.layers(torch.cat([scaled, condition], dim=1)).squeeze(1)


def straight_through(logits: Tensor, temperature: float, random: torch.Generator) -> Tensor:
    """Draw 0/1 profiles whose gradient is that of the relaxed (logistic) Bernoulli, arXiv 1611.00712.

    Args:
        logits: (B, n_items).
        temperature: of the relaxation; small is close to 0/1, with noisier gradients.
        random: where the draw comes from.
    """
    uniform = torch.rand(logits.shape, generator=random, device=logits.device).clamp(1e-6, 1 - 1e-6)
    noisy = logits + torch.logit(uniform)
    relaxed = torch.sigmoid(noisy / temperature)
    return (noisy > 0).float() + relaxed - relaxed.detach()


def critic_loss(
    loss: Loss,
    critic: ProfileCritic,
    real: Tensor,
    fake: Tensor,
    condition: Tensor,
    penalty: float,
    random: torch.Generator,
) -> Tensor:
    """What the critic minimises.

    "relativistic": pairing loss with zero-centred gradient penalties on real (R1) and fake (R2), arXiv 2501.05441.
    "wasserstein": Wasserstein loss with a gradient penalty between real and fake (WGAN-GP), arXiv 1704.00028.
    """
    if loss == "relativistic":
        real_scores, real_slope = _slope(critic, real, condition)
        fake_scores, fake_slope = _slope(critic, fake, condition)
        flatness = real_slope.square().mean() + fake_slope.square().mean()
        return functional.softplus(fake_scores - real_scores).mean() + penalty / 2 * flatness
    share = torch.rand(len(real), 1, generator=random, device=real.device)
    _, slope = _slope(critic, share * real + (1 - share) * fake, condition)
    distance = critic(fake, condition).mean() - critic(real, condition).mean()
    return distance + penalty * (slope - 1).square().mean()


def generator_loss(
    loss: Loss, critic: ProfileCritic, real: Tensor, fake: Tensor, condition: Tensor
) -> Tensor:
    """What the generator minimises."""
    scores = critic(fake, condition)
    if loss == "relativistic":
        return functional.softplus(critic(real, condition) - scores).mean()
    return -scores.mean()


def dense_rows(matrix: sp.csr_matrix, rows: np.ndarray, device: torch.device) -> Tensor:
    """Rows of a sparse 0/1 matrix as a dense float32 tensor (len(rows), n_items) on `device`."""
    chosen = matrix[rows]
    places = np.repeat(np.arange(len(rows)), np.diff(chosen.indptr))
    dense = torch.zeros(chosen.shape, device=device)
    dense[torch.as_tensor(places, device=device), torch.as_tensor(chosen.indices, device=device).long()] = 1.0
    return dense


def move_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Exponential moving average of weights, in place."""
    with torch.no_grad():
        for old, new in zip(average.parameters(), current.parameters(), strict=True):
            old.lerp_(new, 1.0 - decay)


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Use `threads` CPU threads inside the block: sums run in the same order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _slope(critic: ProfileCritic, profiles: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the norms (B,) of their gradients by the profile."""
    profiles = profiles.detach().requires_grad_(True)
    scores = critic(profiles, condition)
    (gradient,) = torch.autograd.grad(scores.sum(), profiles, create_graph=True)  # (B, n_items)
    # the tiny constant keeps the square root differentiable where a gradient vanishes
    return scores, (gradient.square().sum(dim=1) + 1e-12).sqrt()


def _perceptron(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, out),
    )
