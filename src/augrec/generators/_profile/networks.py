"""The two networks of the profile GAN, its losses, and the small things a training loop needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from augrec.generators._training.modules import perceptron
from augrec.generators._training.monitor import CRITIC_LEADS, CRITIC_WINS

Loss = Literal["relativistic", "wasserstein"]


Critic = Callable[[Tensor, Tensor], Tensor]
"""Scores of what it judges, (B, width), under its conditions (B, c); larger is more real."""


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
        self.layers = perceptron(noise + condition, hidden, n_items)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Logits float32 (B, n_items) from noise (B, noise) and condition (B, condition)."""
        return self.layers(torch.cat([noise, condition], dim=1))

    def start_at(self, shares: np.ndarray) -> None:
        """Let every profile begin at the items' popularity: `shares` float (n_items,) of users who
        have the item."""
        last = cast(nn.Linear, self.layers[-1])
        with torch.no_grad():
            last.bias.copy_(torch.logit(torch.as_tensor(shares, dtype=torch.float32)))


class ProfileCritic(nn.Module):
    """How real profiles look under their conditions; larger is more real.

    Packed (PacGAN, arXiv 1712.04086), it judges several profiles at once and so sees when they are
    too much alike.

    Args:
        condition: width of the condition.
        hidden: width of both hidden layers.
        n_items: size of the catalogue.
        packing: profiles judged at once.
    """

    def __init__(self, condition: int, hidden: int, n_items: int, packing: int = 1) -> None:
        super().__init__()
        self.packing = packing
        self.layers = perceptron(packing * (n_items + condition), hidden, 1)

    def forward(self, profiles: Tensor, condition: Tensor) -> Tensor:
        """Scores float32 (B / packing,) of profiles (B, n_items); consecutive ones are judged
        together."""
        return self.layers[-1](self.features(profiles, condition)).squeeze(1).float()

    def features(self, profiles: Tensor, condition: Tensor) -> Tensor:
        """What the last layer judges by (B / packing, hidden); long profiles are scaled to the norm
        of short ones."""
        scaled = profiles / profiles.sum(dim=1, keepdim=True).clamp(min=1.0).sqrt()
        packs = torch.cat([scaled, condition], dim=1).reshape(len(profiles) // self.packing, -1)
        return self.layers[:-1](packs)


def straight_through(logits: Tensor, temperature: float, random: torch.Generator) -> Tensor:
    """Draw 0/1 profiles whose gradient is that of the relaxed (logistic) Bernoulli, arXiv
    1611.00712.

    Args:
        logits: (B, n_items).
        temperature: of the relaxation; small is close to 0/1, with noisier gradients.
        random: where the draw comes from.
    """
    uniform = torch.rand(logits.shape, generator=random, device=logits.device).clamp(1e-6, 1 - 1e-6)
    noisy = logits + torch.logit(uniform)
    relaxed = torch.sigmoid(noisy / temperature)
    return (noisy > 0).float() + relaxed - relaxed.detach()


def judge(
    loss: Loss,
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    condition: Tensor,
    penalty: float,
    random: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the critic minimises, and how surely it tells real from fake.

    "relativistic": pairing loss with zero-centred gradient penalties on real (R1) and fake (R2),
    arXiv 2501.05441. "wasserstein": Wasserstein loss with a gradient penalty between real and fake
    (WGAN-GP), arXiv 1704.00028.

    Args:
        loss: of the two.
        critic: gives (B,) scores, or fewer where it judges several rows at once.
        real, fake: float32 (B, width), row by row under the same condition; fake ones need no
            gradient.
        condition: float32 (B, c).
        penalty: weight of the gradient penalties.
        random: on the device; places the points at which WGAN-GP looks at the gradient.

    Returns:
        The loss, 0-dimensional, differentiable by the critic's weights; and by its name for the
        curve, `CRITIC_WINS` or `CRITIC_LEADS` of `_watch`, the mean of sigmoid(score of the real
        one - score of the fake one) over the pairs, 0-dimensional, without gradient.
    """
    if loss == "relativistic":
        both = torch.cat([real, fake])
        scores, slopes = _slope(critic, both, torch.cat([condition, condition]))
        real_scores, fake_scores = scores.chunk(2)
        flatness = 2 * slopes.square().mean()  # R1 + R2
        lost = functional.softplus(fake_scores - real_scores).mean() + penalty / 2 * flatness
        return lost, {CRITIC_WINS: _sure(real_scores, fake_scores)}
    share = torch.rand(len(real), 1, generator=random, device=real.device)
    _, slope = _slope(critic, share * real + (1 - share) * fake, condition)
    real_scores, fake_scores = critic(real, condition), critic(fake, condition)
    distance = fake_scores.mean() - real_scores.mean()
    lost = distance + penalty * (slope - 1).square().mean()
    return lost, {CRITIC_LEADS: _sure(real_scores, fake_scores)}


def generator_loss(
    loss: Loss, critic: Critic, real: Tensor, fake: Tensor, condition: Tensor
) -> Tensor:
    """What the generator minimises: 0-dimensional, differentiable by `fake`.

    Args:
        loss, critic, condition: see `judge`.
        real, fake: float32 (B, width); the Wasserstein loss does not look at the real ones.
    """
    scores = critic(fake, condition)
    if loss == "relativistic":
        return functional.softplus(critic(real, condition) - scores).mean()
    return -scores.mean()


def feature_distance(
    critic: ProfileCritic, real: Tensor, fake: Tensor, condition: Tensor
) -> Tensor:
    """Squared distance between the mean features of real and fake profiles (feature matching, arXiv
    1606.03498)."""
    with torch.no_grad():
        wanted = critic.features(real, condition).float().mean(dim=0)
    return (critic.features(fake, condition).float().mean(dim=0) - wanted).square().sum()


def _sure(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    return torch.sigmoid(real_scores - fake_scores).mean().detach()


def _slope(critic: Critic, profiles: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the norms (B,) of their gradients by the profile."""
    profiles = profiles.detach().requires_grad_(True)
    scores = critic(profiles, condition)
    (gradient,) = torch.autograd.grad(scores.sum(), profiles, create_graph=True)  # (B, n_items)
    # the tiny constant keeps the square root differentiable where a gradient vanishes
    return scores, (gradient.square().sum(dim=1) + 1e-12).sqrt()
