"""MultVAE: a variational autoencoder of users' histories with a multinomial likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.component import ComponentConfig
from augrec.data.histories import Histories
from augrec.errors import RefusedError
from augrec.recommenders._checkpoint import Best
from augrec.recommenders._torch import Rows, device, reproducible, transfer
from augrec.recommenders.base import Log, Recommender
from augrec.seeds import derive


class MultvaeConfig(ComponentConfig):
    """The network, and a training loop of a fixed length: every policy gets the same number of gradient steps."""

    hidden: int = Field(200, ge=1)
    """Width of the one hidden layer on either side."""
    latent: int = Field(64, ge=1)
    """Width of the latent code."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a history hidden from the encoder while training."""
    beta: float = Field(0.2, ge=0)
    """Weight of the KL term once annealed."""
    anneal: float = Field(0.5, gt=0, le=1)
    """Share of the steps over which the KL term's weight grows from 0 to beta."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW."""
    steps: int = Field(400, ge=1)
    """Gradient steps."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""
    eval_every: int = Field(50, ge=1)
    """Validate after so many steps; the best checkpoint is kept. Without cases the last one is."""
    threads: int = Field(1, ge=1)
    """CPU threads of training; the same number gives the same bytes."""


class Multvae(Recommender):
    """Variational autoencoder for implicit feedback (Liang, Krishnan, Hoffman, Jebara 2018, arXiv 1802.05814).

    Minimises Σ_u [ -Σ_i w_ui log softmax(f(z_u))_i + beta w_u KL(q(z_u | x_u) || N(0, I)) ], where x_u are the observed
    entries (L2-normalised, with dropout), the sum over i takes all entries, and w_u is the mean of the user's weights.
    A user of weight 2 has twice the gradient.
    """

    Config = MultvaeConfig
    continues = True
    architecture = ("hidden", "latent")

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        with reproducible(derive(self.seed, self.name()), self.config.threads):
            self._network = self._build()
            self._network.start_at(self.popularity)
            if isinstance(self._start, Multvae):
                transfer(self._network, self._start._network, self.items, self._start.items)
            best = Best(self, self._network, cases)
            if self._start is not None:
                log({"step": 0} | best.offer(0))  # what it begins with may stay the best
            for step, losses in enumerate(self._train(histories), start=1):
                if step % self.config.eval_every and step < self.config.steps:
                    continue
                row = {"step": step, **_mean(losses)}
                if not np.isfinite(row["loss"]):
                    raise RefusedError("training broke: the loss is not a number", where=f"multvae, step {step}",
                                       fix="lower recommenders.multvae.learning_rate")  # fmt: skip
                log(row | best.offer(step))
            self._network.load_state_dict(best.weights)
        self._best_step = best.step

    def _train(self, histories: Histories) -> Iterator[list[torch.Tensor]]:
        """Take the gradient steps; yield, after each, (loss, KL) of every step since the last validation."""
        config, where = self.config, device()
        inputs = histories.matrix(observed_only=True)
        inputs.data[:] = 1
        weights = histories.matrix()
        user_weights = (
            torch.from_numpy(np.asarray(weights.sum(1)).ravel() / weights.getnnz(1)).float().to(where)
        )
        x_rows, weight_rows = Rows(inputs, where), Rows(weights, where)
        optimiser = torch.optim.AdamW(
            self._network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        losses: list[torch.Tensor] = []
        for step, users in enumerate(
            _batches(len(histories), config.batch_size, config.steps, where), start=1
        ):
            self._network.train()
            x, w = x_rows.dense(users), weight_rows.dense(users)  # (B, n_items)
            logits, kl = self._network(x)  # (B, n_items), (B,)
            fit = -(F.log_softmax(logits, dim=1) * w).sum(1)
            beta = config.beta * min(1.0, step / (config.anneal * config.steps))
            loss = (fit + beta * user_weights[users] * kl).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(torch.stack([loss, kl.mean()]).detach())
            yield losses
            if step % config.eval_every == 0:
                losses = []

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        self._network.eval()
        with torch.inference_mode():
            logits, _ = self._network(torch.from_numpy(seen.toarray()).to(self._network.where))
        return logits.cpu().numpy()

    def _build(self) -> _Network:
        return _Network(len(self.items), self.config.hidden, self.config.latent, self.config.dropout).to(
            device()
        )

    def describe(self) -> dict[str, int]:
        """Size, steps taken, and the step whose weights were kept."""
        return super().describe() | {"steps": self.config.steps, "best_step": self._best_step}

    def _model_state(self) -> dict[str, np.ndarray]:
        weights = {name: tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()}
        return weights | {"best_step": np.array([self._best_step])}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._best_step = int(state.pop("best_step")[0])
        self._network = self._build()
        self._network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})


class _Network(nn.Module):
    """items → hidden → (mean, log variance) → latent → hidden → items, tanh between."""

    ITEM_PARAMETERS: ClassVar = {"read.weight": 1, "write.weight": 0, "write.bias": 0}

    def __init__(self, n_items: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.read, self.encode = nn.Linear(n_items, hidden), nn.Linear(hidden, 2 * latent)
        self.decode, self.write = nn.Linear(latent, hidden), nn.Linear(hidden, n_items)
        for layer in (self.read, self.encode, self.decode, self.write):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def where(self) -> torch.device:
        return self.read.weight.device

    @torch.no_grad()
    def start_at(self, popularity: np.ndarray) -> None:
        """Begin with every user's items as likely as they are popular: float32 (n_items,), all above 0."""
        self.write.bias.copy_(torch.from_numpy(popularity).clamp(min=1e-12).log())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: 0/1 (B, n_items). Gives logits (B, n_items) and KL to the prior (B,); draws only while training."""
        x = F.dropout(F.normalize(x, dim=1), self.dropout, self.training)
        mean, log_variance = self.encode(torch.tanh(self.read(x))).chunk(2, dim=1)  # (B, latent) each
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance) if self.training else mean
        return self.write(torch.tanh(self.decode(z))), kl


def _batches(n: int, size: int, steps: int, where: torch.device) -> Iterator[torch.Tensor]:
    """`steps` batches of user positions; every user once before any comes again."""
    taken = 0
    while True:
        for users in torch.randperm(n).to(where).split(size):
            if taken == steps:
                return
            taken += 1
            yield users


def _mean(losses: list[torch.Tensor]) -> dict[str, float]:
    loss, kl = torch.stack(losses).mean(0).tolist()
    return {"loss": loss, "kl": kl}
