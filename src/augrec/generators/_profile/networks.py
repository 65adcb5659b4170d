"""The two networks of the profile GAN."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from augrec.generators._training.modules import perceptron


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
        """Let every profile start at the items' popularity: `shares` float (n_items,) of users that
        have the item."""
        last = cast(nn.Linear, self.layers[-1])
        with torch.no_grad():
            last.bias.copy_(torch.logit(torch.as_tensor(shares, dtype=torch.float32)))


class ProfileCritic(nn.Module):
    """How real profiles look under their conditions; larger is more real.

    Packed (PacGAN, arXiv 1712.04086), it scores several profiles at once, and so detects when they
    are too much alike.

    Args:
        condition: width of the condition.
        hidden: width of both hidden layers.
        n_items: size of the catalogue.
        packing: profiles scored at once.
    """

    def __init__(self, condition: int, hidden: int, n_items: int, packing: int = 1) -> None:
        super().__init__()
        self.packing = packing
        self.layers = perceptron(packing * (n_items + condition), hidden, 1)

    def forward(self, profiles: Tensor, condition: Tensor) -> Tensor:
        """Scores float32 (B / packing,) of profiles (B, n_items); consecutive ones are scored
        together."""
        return self.layers[-1](self.features(profiles, condition)).squeeze(1).float()

    def features(self, profiles: Tensor, condition: Tensor) -> Tensor:
        """The input of the last layer, (B / packing, hidden); long profiles are scaled to the norm
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


def feature_distance(
    critic: ProfileCritic, real: Tensor, fake: Tensor, condition: Tensor
) -> Tensor:
    """Squared distance between the mean features of real and fake profiles (feature matching, arXiv
    1606.03498)."""
    with torch.no_grad():
        wanted = critic.features(real, condition).float().mean(dim=0)
    return (critic.features(fake, condition).float().mean(dim=0) - wanted).square().sum()
