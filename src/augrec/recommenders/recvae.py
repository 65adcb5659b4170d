"""RecVAE: an autoencoder of histories with a composite prior, whose encoder and decoder learn in
turn."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.nn.perturbations import ForwardPass
from augrec.nn.profile_batches import ProfileBatch
from augrec.recommenders._neural.vae import Vae, VaeConfig, VaeNetwork

_PRIOR = (0.15, 0.75, 0.10)
"""Shares of the standard normal, the posterior of the round before, and a wide normal in the prior;
the paper's."""
_WIDE = 10.0
"""Log variance of the wide normal."""


class RecvaeConfig(VaeConfig):
    """As every autoencoder's, the weight of the KL term, and how the halves take turns."""

    gamma: float = Field(0.005, ge=0)
    """Weight of a user's KL term for each item of the user."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of a history hidden from the encoder while it trains."""
    layers: int = Field(1, ge=1)
    """Hidden layers of the encoder, each fed by all before it; the paper has 5, for millions of
    interactions."""
    encoder_steps: int = Field(30, ge=1)
    """Steps of the encoder in a round; the prior is renewed after each round …"""
    decoder_steps: int = Field(10, ge=1)
    """… and then of the decoder, which sees whole histories."""


class Recvae(Vae):
    """Autoencoder with a composite prior and alternating updates (Shenbin et al. 2020, arXiv
    1912.11160).

    Minimises Σ_u [ -Σ_i w_ui log softmax(W z_u + b)_i + gamma |w_u| (log q(z_u | x_u) - log p(z_u |
    x_u)) ], with one draw z_u of q, |w_u| the sum of the user's weights, and the prior p(z | x) a
    mixture of N(0, I), the encoder's q of the round before, and a wide normal. The encoder learns
    from histories with dropout, the decoder from whole ones, in turn. Histories are truncated for
    the encoder alone.
    """

    Config = RecvaeConfig
    architecture = ("hidden", "latent", "layers")
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
        "weight_decay": [0.0, 0.01, 0.1],
        "dropout": {"low": 0.2, "high": 0.8},
        "gamma": {"low": 0.0005, "high": 0.05, "log": True},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"gamma": ["x0.2"]}

    def _descend_on(self, batches: Iterator[ProfileBatch]) -> Iterator[torch.Tensor]:
        config, network = self.config, self._network
        assert isinstance(network, _Network)
        halves = [
            torch.optim.AdamW(
                half.parameters(),
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                fused=True,
            )
            for half in (network.encoder, network.write)
        ]
        adversary = self._adversary(network.lookup, softmax=True)
        round_steps = config.encoder_steps + config.decoder_steps
        for step, batch in enumerate(batches):
            place = step % round_steps
            if place == 0:
                network.renew_prior()
            decoding = place >= config.encoder_steps
            loss, logged = adversary.loss(partial(self._loss, network, batch, decoding=decoding))
            optimiser = halves[decoding]
            network.zero_grad()
            loss.backward()
            optimiser.step()
            yield logged

    def _loss(self, network: _Network, batch: ProfileBatch, *, decoding: bool) -> ForwardPass:
        x = batch.whole if decoding else batch.x
        logits, kl = network(x, noisy=not decoding)  # (B, n_items), (B,)
        fit = -(F.log_softmax(logits, dim=1) * batch.w).sum(1)
        loss = (fit + self.config.gamma * batch.w.sum(1) * kl).mean()
        return ForwardPass(loss, logits, torch.stack([loss, kl.mean()]))

    def _build(self) -> VaeNetwork:
        config = self.config
        return _Network(
            len(self.items), config.hidden, config.latent, config.layers, config.dropout
        )


class _Encoder(nn.Module):
    """items → hidden layers, each fed by the sum of those before it → (mean, log variance)."""

    def __init__(self, n_items: int, hidden: int, latent: int, layers: int) -> None:
        super().__init__()
        self.read = nn.Linear(n_items, hidden)
        self.deeper = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.code = nn.Linear(hidden, 2 * latent)
        for layer in (self.read, *self.deeper, self.code):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: (B, n_items). Gives mean and log variance, (B, latent) each."""
        state = self.norms[0](F.silu(self.read(x)))
        total = state
        for layer, norm in zip(self.deeper, self.norms[1:], strict=True):
            state = norm(F.silu(layer(state) + total))
            total = total + state
        mean, log_variance = self.code(state).chunk(2, dim=1)
        return mean, log_variance


class _Network(VaeNetwork):
    """The encoder, the linear decoder, and the prior, which is no part of what is kept."""

    ITEM_PARAMETERS: ClassVar = {"encoder.read.weight": 1, "write.weight": 0, "write.bias": 0}

    def __init__(self, n_items: int, hidden: int, latent: int, layers: int, dropout: float) -> None:
        super().__init__(latent, n_items)
        self.dropout = dropout
        self.encoder = _Encoder(n_items, hidden, latent, layers)
        nn.init.xavier_uniform_(self.write.weight)
        self._before: list[_Encoder] = []  # in a list: its weights are not the network's

    def renew_prior(self) -> None:
        """The posterior of the prior is that of the encoder as it is now."""
        self._before = [copy.deepcopy(self.encoder).requires_grad_(False)]

    def forward(self, x: torch.Tensor, *, noisy: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """x: 0/1 (B, n_items). Gives logits (B, n_items) and an estimate of the KL (B,); draws only
        while training.

        Args:
            x: what was read.
            noisy: whether dropout hides a part of it, while training.
        """
        x = F.normalize(x, dim=1)
        read = self.lookup("profile", F.dropout(x, self.dropout, self.training and noisy))
        mean, log_variance = self.encoder(read)
        if not self.training:
            return self.write(mean), torch.zeros_like(mean[:, 0])
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.write(z), (_log_normal(z, mean, log_variance) - self._log_prior(x, z)).sum(1)

    def _log_prior(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """(B, latent): the log density of each value of z under the mixture."""
        nothing = torch.zeros_like(z)
        parts = [(nothing, nothing), self._before[0](x), (nothing, nothing + _WIDE)]
        return torch.stack(
            [
                math.log(share) + _log_normal(z, *part)
                for share, part in zip(_PRIOR, parts, strict=True)
            ]
        ).logsumexp(0)


def _log_normal(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return -0.5 * (math.log(2 * math.pi) + log_variance + (z - mean) ** 2 / log_variance.exp())
