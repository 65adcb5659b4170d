"""MultVAE: a variational autoencoder of users' histories with a multinomial likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.data.training_data import TrainingData
from augrec.nn.membership import MembershipAdversary, MembershipConfig, held_out
from augrec.nn.perturbations import ForwardPass
from augrec.nn.profile_batches import ProfileBatch, ProfileBatches
from augrec.recommenders._neural.vae import Vae, VaeConfig, VaeNetwork


class MultvaeConfig(MembershipConfig, VaeConfig):
    """As every autoencoder's, and the weight of the KL term."""

    beta: float = Field(0.5, ge=0)
    """Weight of the KL term once annealed."""
    anneal: float = Field(0.5, gt=0, le=1)
    """Share of the steps over which the KL term's weight grows from 0 to beta."""


class Multvae(Vae):
    """Variational autoencoder for implicit feedback (Liang, Krishnan, Hoffman, Jebara 2018, arXiv
    1802.05814).

    Minimises Σ_u [ -Σ_i w_ui log softmax(f(z_u))_i + beta w_u KL(q(z_u | x_u) || N(0, I)) ], where
    x_u are the observed entries (L2-normalised, with dropout), the sum over i takes all entries,
    and w_u is the mean of the user's weights. A user of weight 2 has twice the gradient. With a
    `membership_weight` it is trained against a membership attack as well
    (`augrec.nn.membership.MembershipAdversary`).
    """

    Config = MultvaeConfig
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
        "weight_decay": [0.0, 0.01, 0.1],
        "dropout": {"low": 0.2, "high": 0.8},
        "beta": {"low": 0.02, "high": 1.0, "log": True},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"beta": ["x0.25"]}

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        config = self.config
        if not config.membership_weight:
            return super()._descend(data)
        sides = held_out(len(data.histories), config.membership_reference, self.seed)
        members, others = (
            ProfileBatches(data.histories.take(side), self._device).batches(
                config.batch_size, config.steps, truncate
            )
            for side, truncate in zip(sides, (config.truncate, 0.0), strict=True)
        )
        return self._descend_on(members, others)

    def _descend_on(
        self, batches: Iterator[ProfileBatch], others: Iterator[ProfileBatch] | None = None
    ) -> Iterator[torch.Tensor]:
        """`others`: batches of users held out, for training against a membership attack."""
        config = self.config
        private = MembershipAdversary(config, self._device) if others is not None else None
        optimiser = torch.optim.AdamW(
            self._network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        adversary = self._adversary(self._network.lookup, softmax=True)
        for step, batch in enumerate(batches, start=1):
            beta = config.beta * min(1.0, step / (config.anneal * config.steps))
            loss, logged = adversary.loss(partial(self._loss, batch, beta))
            if private is not None and others is not None:
                loss = private.penalised(loss, self._predict, batch.whole, next(others).whole)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield logged

    def _predict(self, profiles: torch.Tensor) -> torch.Tensor:
        self._network.eval()
        logits, _ = self._network(profiles)
        self._network.train()
        return logits

    def _loss(self, batch: ProfileBatch, beta: float) -> ForwardPass:
        logits, kl = self._network(batch.x)  # (B, n_items), (B,)
        fit = -(F.log_softmax(logits, dim=1) * batch.w).sum(1)
        loss = (fit + beta * batch.weights * kl).mean()
        return ForwardPass(loss, logits, torch.stack([loss, kl.mean()]))

    def _build(self) -> VaeNetwork:
        config = self.config
        return _Network(len(self.items), config.hidden, config.latent, config.dropout)


class _Network(VaeNetwork):
    """items → hidden → (mean, log variance) → latent → hidden → items, tanh between."""

    ITEM_PARAMETERS: ClassVar = {"read.weight": 1, "write.weight": 0, "write.bias": 0}

    def __init__(self, n_items: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__(hidden, n_items)
        self.dropout = dropout
        self.read, self.encode = nn.Linear(n_items, hidden), nn.Linear(hidden, 2 * latent)
        self.decode = nn.Linear(latent, hidden)
        for layer in (self.read, self.encode, self.decode, self.write):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: 0/1 (B, n_items). Gives logits (B, n_items) and KL to the prior (B,); draws only while
        training."""
        x = F.dropout(F.normalize(x, dim=1), self.dropout, self.training)
        x = self.lookup("profile", x)
        mean, log_variance = self.encode(torch.tanh(self.read(x))).chunk(
            2, dim=1
        )  # (B, latent) each
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance) if self.training else mean
        return self.write(torch.tanh(self.decode(z))), kl
