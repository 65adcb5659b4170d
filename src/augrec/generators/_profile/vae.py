"""The network of the profile VAE: a conditional variational autoencoder of 0/1 profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_MAX_LOG_VARIANCE = 8.0


class ProfileAutoencoder(nn.Module):
    """Encoder and decoder, each an MLP with one hidden layer; both are given the condition.

    Nothing but linear layers holds weights, so that the norm of each user's gradient is cheap to
    compute (Goodfellow 2015, arXiv 1510.01799), which the differentially private training needs.

    Args:
        n_items: size of the catalogue.
        condition: width of the condition.
        hidden: width of the hidden layers.
        latent: width of the code.
    """

    def __init__(self, n_items: int, condition: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.read = nn.Linear(n_items + condition, hidden)
        self.code = nn.Linear(hidden, 2 * latent)
        self.unfold = nn.Linear(latent + condition, hidden)
        self.write = nn.Linear(hidden, n_items)
        for layer in self.children():
            nn.init.xavier_uniform_(cast(nn.Linear, layer).weight)
            nn.init.zeros_(cast(nn.Linear, layer).bias)

    def encode(self, profiles: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latent) of q(z | x, c) from profiles (B, n_items), scaled to
        norm 1."""
        seen = torch.cat([functional.normalize(profiles, dim=1), condition], dim=1)
        mean, log_variance = self.code(torch.tanh(self.read(seen))).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-_MAX_LOG_VARIANCE, _MAX_LOG_VARIANCE)

    def decode(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Logits (B, n_items) of p(item | z, c) from codes (B, latent)."""
        return self.write(torch.tanh(self.unfold(torch.cat([codes, condition], dim=1))))

    def forward(
        self, profiles: Tensor, shown: Tensor, condition: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the ELBO is made of, per user.

        Args:
            profiles: 0/1 (B, n_items), to be predicted.
            shown: 0/1 (B, n_items), the part of them that the encoder is given.
            condition: (B, condition).
            noise: (B, latent), standard normal.

        Returns:
            -Σ_i x_i log softmax(logits)_i and KL(q(z | x, c) || N(0, I)), each (B,).
        """
        mean, log_variance = self.encode(shown, condition)
        codes = mean + noise * torch.exp(log_variance / 2)
        misfit = -(functional.log_softmax(self.decode(codes, condition), dim=1) * profiles).sum(
            dim=1
        )
        return misfit, (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1) / 2

    def start_at(self, shares: np.ndarray) -> None:
        """Let every profile start at the items' popularity: `shares` positive float (n_items,)."""
        with torch.no_grad():
            self.write.bias.copy_(torch.log(torch.as_tensor(shares, dtype=torch.float32)))


class Descent:
    """Ordinary gradient steps on users drawn at random.

    Args:
        network: learns.
        optimizer: of its weights.
        n_users: their number.
        batch_size: users in a step.
        random: where they are drawn from.
    """

    randoms: Mapping[str, np.random.Generator | torch.Generator] = {}

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        n_users: int,
        batch_size: int,
        random: torch.Generator,
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._n_users, self._size, self._random = n_users, batch_size, random

    def users(self) -> Tensor:
        """Rows int64 (B,) of the users in a step."""
        return torch.randint(
            self._n_users, (self._size,), generator=self._random, device=self._random.device
        )

    def step(self, losses: Callable[[nn.Module], tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Take a step on the mean of `losses`, which gives each user's loss and KL term; returns
        both means."""
        loss, kl = (each.mean() for each in losses(self._network))
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return {"loss": loss.detach(), "kl": kl.detach()}
