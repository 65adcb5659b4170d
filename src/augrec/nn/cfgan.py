"""The two networks of CFGAN and their adversarial training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augrec.core.config import BaseConfig
from augrec.nn.memory import check_memory
from augrec.nn.perturbations import Adversary, ForwardPass, Lookups
from augrec.nn.profile_batches import ProfileBatch

_BETAS = (0.5, 0.99)
"""Of Adam: little momentum, as both networks keep changing."""
_HIDDEN = {"read.weight": 0, "read.bias": 0, "vary.weight": 0, "write.weight": 1}
"""Which way a generator's hidden units lie in its weights."""
_VARIETY_WEIGHT = 10.0
"""Weight of missing variety; the losses are of order one."""
_NUMBERS_AT_ONCE = 19
"""For each user and item of a batch, while a step is taken: measured."""


class AdversarialConfig(BaseConfig):
    """The two networks, what the critic sees, and the penalties that pull towards zero."""

    hidden: int = Field(200, ge=1)
    """Width of the generator's hidden layer."""
    critic_hidden: int = Field(32, ge=1)
    """Width of the critic's hidden layer."""
    noise: int = Field(16, ge=0)
    """Width of the generator's noise; without it the generator is an autoencoder."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a history hidden from the generator while training, so that copying it is no
    solution."""
    truncate: float = Field(0.5, ge=0, le=1)
    """Share of the training histories cut to their first 1 to 5 items, while all the user's items
    stay real."""
    partial_masking: float = Field(0.05, ge=0, le=1)
    """Share of the items a user has not met that the critic also sees (PM); 0: none."""
    zero_reconstruction: float = Field(0.9, ge=0, le=1)
    """Share of them that the generator is to give a zero (ZR); 0: none."""
    zero_weight: float = Field(0.1, ge=0)
    """Weight of the squared error there."""
    variety: float = Field(0.2, ge=0, le=1)
    """Share of a profile that other noise is to change; left to itself the generator ignores the
    noise."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of Adam, for both networks."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW; of the generator."""
    average: float = Field(0.99, ge=0, lt=1)
    """What is kept of the generator's moving average in a step, less at first; the average is what
    is used."""
    batch_size: int = Field(128, ge=1)
    """Users in a step."""


def check_cfgan_memory(
    config: AdversarialConfig,
    section: str,
    device: torch.device,
    n_items: int,
    *,
    n_generators: int = 1,
    instead: str,
) -> None:
    """Refuse to train generators, each against a critic of its own, where memory would run out; see
    `augrec.nn.memory.check_memory`."""
    check_memory(
        section,
        device,
        n_items,
        learnt=2 * n_generators * (config.hidden + config.critic_hidden),
        averaged=2 * n_generators * config.hidden,
        batch=_NUMBERS_AT_ONCE * n_generators * config.batch_size,
        instead=instead,
    )


class CfganGenerator(nn.Module):
    """The generator: items and noise → hidden → logits of items."""

    ITEM_PARAMETERS: ClassVar = {"read.weight": 1, "write.weight": 0, "write.bias": 0}

    def __init__(self, n_items: int, config: AdversarialConfig, n: int = 1) -> None:
        super().__init__()
        self.dropout, hidden, self.lookup = config.dropout, n * config.hidden, Lookups()
        self.read = nn.Linear(n_items, hidden)
        with warnings.catch_warnings(
            action="ignore", category=UserWarning
        ):  # of a layer without inputs
            self.vary = nn.Linear(config.noise, hidden, bias=False)
        self.write = nn.Linear(hidden, n_items)
        for layer in (
            (self.read, self.vary, self.write) if config.noise else (self.read, self.write)
        ):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.read.bias)

    @property
    def where(self) -> torch.device:
        return self.write.weight.device

    @torch.no_grad()
    def start_at(self, chances: np.ndarray) -> None:
        """Begin with the share of users that have each item, float32 (n_items,)."""
        self.write.bias.copy_(torch.from_numpy(chances).clamp(1e-6, 0.95).logit())

    def state(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The hidden layer for all of x, 0/1 (B, n_items): (B, hidden); noise: (B, width), None is
        its mean, 0."""
        read = self.read(F.normalize(x, dim=1))
        return torch.tanh(read if noise is None else read + self.vary(noise))

    def state_of(self, items: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The same for listed items, without a dense table of users × catalogue.

        Args:
            items: int64 (B, longest), distinct ones in a row; -1 is none, and each row has some.
            noise: (B, width).
        """
        there = items >= 0
        n = there.sum(1)
        sums = F.embedding_bag(items[there], self.read.weight.T, n.cumsum(0) - n, mode="sum")
        return torch.tanh(sums / n[:, None].sqrt() + self.read.bias + self.vary(noise))

    def twins(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for the same part of x under two draws of noise, (2, B, n_items)."""
        return self.written(*self.draw(x))

    def draw(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `twins` draws: the part of x (B, n_items), and the noise (2, B, width)."""
        part = F.dropout(F.normalize(x, dim=1), self.dropout)
        return part, torch.randn(2, len(x), self.vary.in_features, device=x.device)

    def written(self, part: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The logits of `twins` for what `draw` gives."""
        read = self.read(self.lookup("profile", part))
        return self.write(torch.tanh(read + self.vary(noise)))


def merged(writers: Sequence[CfganGenerator], config: AdversarialConfig) -> CfganGenerator:
    """One generator, n times as wide, whose logits are the means of those of n: side by side, the
    last layer over n.

    One alone is itself, no copy: a training step need not make one.
    """
    if len(writers) == 1:
        return writers[0]
    states = [writer.state_dict() for writer in writers]
    stacked = {
        name: torch.cat([state[name] for state in states], dim) for name, dim in _HIDDEN.items()
    }
    stacked["write.weight"] /= len(writers)
    stacked["write.bias"] = torch.stack([state["write.bias"] for state in states]).mean(0)
    return _holding(stacked, config, len(writers))


def split(writer: CfganGenerator, config: AdversarialConfig, n: int) -> list[CfganGenerator]:
    """The n generators whose means `writer` gives, each of config.hidden units; copies."""
    whole = writer.state_dict()
    chunks = {name: whole[name].chunk(n, dim) for name, dim in _HIDDEN.items()}
    parts = [{name: chunk[number].clone() for name, chunk in chunks.items()} for number in range(n)]
    for part in parts:
        part["write.weight"] *= n
        part["write.bias"] = whole["write.bias"].clone()
    return [_holding(part, config, 1) for part in parts]


def _holding(weights: dict[str, torch.Tensor], config: AdversarialConfig, n: int) -> CfganGenerator:
    with torch.device("meta"):  # nothing is drawn for weights that are there
        writer = CfganGenerator(len(weights["write.bias"]), config, n)
    writer.load_state_dict(weights, assign=True)
    return writer


class CfganCritic(nn.Module):
    """A user's items and a profile → one logit: above 0 where the profile looks like the user's."""

    def __init__(self, n_items: int, hidden: int) -> None:
        super().__init__()
        self.known, self.shown = nn.Linear(n_items, hidden), nn.Linear(n_items, hidden, bias=False)
        self.output = nn.Linear(hidden, 1)

    def forward(self, known: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """(B, n_items) twice. Gives (B,)."""
        return self.output(F.leaky_relu(self.known(known) + self.shown(shown), 0.2))[:, 0]


class AdversarialTrainer:
    """Vector-wise adversarial training (CFGAN, Chae, Kang, Kim, Lee 2018), by users, with noise.

    For a user's items e, 0/1 (n_items,), and noise z ~ N(0, I), the generator gives p = G(c, z) in
    (0, 1)^n_items, where c is a part of e, drawn anew each time. The critic tells (e, e) from (e, p
    ⊙ (e + k)), where k are items drawn from those not met (partial masking). The generator
    minimises -log D(e, p ⊙ (e + k)) + zero_weight × Σ_j p_j² over others drawn from those not met
    (zero reconstruction). Without either the answer "everything" would pass.

    Without noise, and with c = e, the training is that of an autoencoder, whose optimum is the
    identity (Pérez Maurera, Ferrari Dacrema, Cremonesi 2022, arXiv 2201.01815); and nothing in it
    rewards the use of noise. So two draws of noise are to give different profiles, up to Σ|p - p'|
    / Σ(p + p') = variety (as Yang et al. 2019, arXiv 1901.09024). An entry of weight w belongs to e
    in w / max w of the draws, and a user counts max w; one of weight 0 is neither in e nor among
    those not met. Draws come from torch's generator.

    Args:
        writer, critic: the networks.
        config: the rules.
        lr_factor: what the learning rates are multiplied by.
        adversary: moves the profiles that the generator reads; None: nothing does.

    Attributes:
        optimisers: of either network.
    """

    def __init__(
        self,
        writer: CfganGenerator,
        critic: CfganCritic,
        config: AdversarialConfig,
        lr_factor: float = 1.0,
        adversary: Adversary | None = None,
    ) -> None:
        self._writer, self._critic, self._config = writer, critic, config
        self._adversary = adversary
        self.optimisers = {
            name: torch.optim.AdamW(
                network.parameters(),
                config.learning_rate * lr_factor,
                _BETAS,
                weight_decay=decay,
                fused=True,
            )
            for name, network, decay in (
                ("writer", writer, config.weight_decay),
                ("critic", critic, 0.0),
            )
        }

    def step(self, batch: ProfileBatch) -> dict[str, torch.Tensor]:
        """One update of both; gives the means of the generator's loss, the critic's, the zeros' and
        the variety.

        "critic_leads" is the mean of sigmoid(D(real) - D(fake)): 1 where the critic always tells
        them apart, 0.5 where it guesses.
        """
        real, shown, zeros, counts = self.roles(batch)
        if self._adversary is not None:
            self._adversary.watch()
        inputs = self._writer.draw(batch.x)
        logits = self._writer.written(*inputs)  # (2, B, n_items)
        profiles = logits.sigmoid()
        fake = profiles[0] * shown
        scores = self._critic(real, real), self._critic(real, fake.detach())
        critic_loss = F.softplus(-scores[0]) + F.softplus(scores[1])
        self._update("critic", self._critic, (counts * critic_loss).mean())

        def judged(logits: torch.Tensor, profiles: torch.Tensor) -> ForwardPass:
            written, other = profiles  # (B, n_items) each
            fake = written * shown
            nothing = (written.square() * zeros).sum(1)
            varied = (written - other).abs().sum(1) / (written + other).sum(1)
            missing_variety = _VARIETY_WEIGHT * F.relu(self._config.variety - varied)
            fooled = F.softplus(-self._critic(real, fake))
            loss = counts * (fooled + self._config.zero_weight * nothing + missing_variety)
            return ForwardPass(loss.mean(), logits, torch.stack([nothing.mean(), varied.mean()]))

        clean = judged(logits, profiles)
        loss = clean.loss
        if self._adversary is not None:

            def again() -> ForwardPass:
                logits = self._writer.written(*inputs)
                return judged(logits, logits.sigmoid())

            loss = self._adversary.mix(clean, again)
        self._update("writer", self._writer, loss)
        leads = (scores[0] - scores[1]).sigmoid().mean()
        found = {
            "loss": clean.loss,
            "critic": critic_loss.mean(),
            "critic_leads": leads,
            "zeros": clean.logged[0],
            "variety": clean.logged[1],
        }
        return {name: value.detach() for name, value in found.items()}

    def roles(
        self, batch: ProfileBatch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The real items, the items that the critic sees, the items that are to be zero, (B,
        n_items) each; weights (B,)."""
        counts = batch.w.amax(1)
        real = (torch.rand_like(batch.w) * counts[:, None] < batch.w).float()
        chance, absent = torch.rand_like(batch.w), (batch.w == 0) & (batch.whole == 0)
        masked = absent & (chance < self._config.partial_masking)
        zeros = absent & (chance >= 1 - self._config.zero_reconstruction)
        return real, real + masked, zeros.float(), counts

    def _update(self, name: str, network: nn.Module, loss: torch.Tensor) -> None:
        loss.backward(
            inputs=list(network.parameters())
        )  # the other's gradients would be thrown away
        self.optimisers[name].step()
        self.optimisers[name].zero_grad()
