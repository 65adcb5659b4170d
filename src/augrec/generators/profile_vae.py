"""A conditional variational autoencoder over user profiles; differentially private on request."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal, cast

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.generators._privacy.budget import Budget, PrivacyConfig, secret_seed
from augrec.generators._privacy.counts import PUBLIC, private_counts
from augrec.generators._privacy.steps import PrivateDescent, train_privately
from augrec.generators._profile.counts import Counts, profiles
from augrec.generators._profile.decode import gumbel_top_k
from augrec.generators._profile.vae import Descent, ProfileAutoencoder
from augrec.generators._training.loop import train
from augrec.generators._training.modules import seeded_weights
from augrec.generators._training.train_state import TrainState
from augrec.generators.base import realness_table
from augrec.generators.neural import LARGE_CATALOGUES, NeuralGenerator, NeuralGeneratorConfig
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads
from augrec.nn.memory import check_memory
from augrec.nn.sparse_rows import SparseRows

_logger = logging.getLogger(__name__)
_NUMBERS_AT_ONCE = 6
"""For each user and item of a batch, while a step is taken: measured."""
_CODES = ("code_mean", "code_log_variance")


class ProfileVaeConfig(NeuralGeneratorConfig):
    """Sizes of the network, its training, sampling and privacy."""

    passes: ClassVar[float] = 70
    fewest_steps: ClassVar[int] = 300

    batch_size: int = Field(128, ge=1)
    """Users in a batch; with privacy their expected number."""
    learning_rate: float = Field(5e-3, gt=0.0)
    """Adam's step size."""
    hidden: int = Field(64, ge=1)
    """Width of the hidden layers."""
    latent: int = Field(8, ge=1)
    """Width of the code."""
    dropout: float = Field(0.5, ge=0.0, lt=1.0)
    """Share of a profile hidden from the encoder while training."""
    unknown: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the training users whose attributes are hidden in a step, so that profiles without
    attributes can be scored too."""
    beta: float = Field(1.0, ge=0.0)
    """Weight of the KL term; at 1 the loss is the ELBO and samples from the prior are sound."""
    anneal: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the steps over which that weight grows from 0."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights; samples come from the average."""
    sampling: Literal["prior", "posterior"] = "prior"
    """Codes drawn from the prior; or near the codes of training users, closer to the data and less
    private."""
    closeness: float = Field(0.5, ge=0.0, le=1.0)
    """Posterior sampling: how near to a training user's code; 1 draws from the posterior, 0 from
    the prior."""
    privacy: PrivacyConfig | None = None
    """Differential privacy; null: none."""


class ProfileVae(NeuralGenerator):
    """Multinomial VAE of profiles (Liang et al. 2018, arXiv 1802.05814) given length and
    attributes, sampled.

    Maximises the ELBO Σ_u Σ_i x_ui log softmax(f(z_u, c_u))_i - beta KL(q(z_u | x_u, c_u) || N(0,
    I)). A sample draws a code, decodes it under a condition, and takes items by Gumbel-top-k at the
    length of the condition, so that items are distinct and drawn as the likelihood says.

    **Prior sampling** draws codes from N(0, I), which depends on no single user. **Posterior
    sampling** keeps the codes of the training users (no ids) and draws near them, under the same
    user's condition. A code reveals much of a profile: so that none is published, the draw is a
    mixture a·(μ + σ ε) + √(1 - a²)·ε' of posterior and prior, a being `closeness`, and items are
    drawn anew. That lowers the risk and bounds nothing: the audit's attack measures what is
    revealed.

    **With `privacy`** every weight and every stored number is (ε, δ)-differentially private for
    users; see `_privacy.budget` for the guarantee, and why the seed must be secret, and
    `_privacy.counts` for what is taken as public. `facts` gives it all for sample.json. The curve
    then holds no losses, a training that diverges is not repeated, and posterior sampling is
    refused: losses, repetitions and codes all come from real users.
    """

    Config = ProfileVaeConfig

    shares: np.ndarray
    """Float32 (n_items,): how likely each item is in a profile."""
    network: ProfileAutoencoder
    codes: tuple[np.ndarray, np.ndarray] | None = None
    """Posterior sampling: mean and log variance float32 (n, latent) of each row of the
    conditions."""
    budget: Budget | None = None
    """Differential privacy: what was spent."""

    def facts(self) -> dict[str, object]:
        """With privacy: {"privacy": the guarantee, what was spent, and what it does not cover}."""
        if self.budget is None:
            return {}
        return {"privacy": self.budget.facts(self.config.privacy, PUBLIC)}

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame:
        """How much better the model explains each profile than popularity alone does.

        The ELBO less the log likelihood of items drawn by popularity, a likelihood ratio (arXiv
        1906.02845: likelihoods alone prefer whatever is common), for each item of the profile; less
        what the profile's length explains of that within the sample, so that long profiles are not
        scored as odd for being long. Attributes count as unknown.
        """
        histories = Histories.from_interactions(sample.select(C.USER, C.ITEM), self.items)
        matrix, device = profiles(histories), self.device
        sparse = SparseRows(matrix, device)
        lengths = np.diff(matrix.indptr)
        unknown = np.full((len(histories), len(self.conditions.labels)), -1)
        condition = self.conditions.encode(lengths, unknown)
        elbo = np.empty(len(histories))
        with fixed_threads(self.config.threads), torch.inference_mode():
            for rows in self._batches(len(histories)):
                x = sparse.dense(torch.as_tensor(rows, device=device))
                noise = torch.zeros(len(rows), self.config.latent, device=device)
                given = torch.as_tensor(condition[rows], device=device)
                misfit, kl = self.network(x, x, given, noise)
                elbo[rows] = -(misfit + kl).cpu().numpy()
        ratio = (elbo - matrix @ np.log(self.shares / self.shares.sum())) / np.maximum(lengths, 1)
        if len(np.unique(lengths)) > 1:
            ratio -= np.polyval(np.polyfit(np.log1p(lengths), ratio, 1), np.log1p(lengths))
        return realness_table(histories.users, ratio)

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        config = self.config
        n_items = shape.n_listed_items if config.privacy else shape.n_items
        check_memory(
            self.section(),
            self.device,
            n_items,
            learnt=2 * config.hidden,
            averaged=2 * config.hidden,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
            instead=LARGE_CATALOGUES,
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        config = self.config
        if config.privacy is None:
            counts = self._count(data)
        else:
            counts = self._count_privately(data, config.privacy)
        self.shares = counts.shares.astype(np.float32)
        loop = train if self.budget is None else train_privately
        self._train(lambda lr_factor: self._start(counts, lr_factor), data, loop=loop)
        if config.sampling == "posterior":
            with fixed_threads(config.threads):
                self.codes = self._encode(counts)

    def _count_privately(self, data: TrainingData, privacy: PrivacyConfig) -> Counts:
        if self.config.sampling == "posterior":
            raise ConfigError(
                "posterior sampling keeps the codes of real users, which no privacy budget covers",
                where=f"{self.section()}.sampling",
                fix="set it to prior, or privacy to null",
            )
        n_users = data.interactions[C.USER].n_unique()
        self.budget = Budget.plan(privacy, n_users, self.config.batch_size, self.config.steps)
        _logger.info(
            "epsilon %.3g, delta %.3g, noise %.3g",
            self.budget.epsilon(),
            self.budget.delta,
            self.budget.noise,
        )
        random = np.random.default_rng(secret_seed(self.seed, "counts"))
        counts = private_counts(data, privacy, self.budget.statistics_noise, random)
        self._keep(counts)
        return counts

    def _start(self, counts: Counts, lr_factor: float) -> TrainState:
        """A fresh training, its learning rate multiplied by `lr_factor`."""
        config, device = self.config, self.device
        network = self._new_network()
        network.start_at(self.shares)
        average = MovingAverage(network, config.average)
        self.network = cast(ProfileAutoencoder, average.module)
        rate = config.learning_rate * lr_factor
        optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
        random = self._random(derive(self.seed, "training"))
        real = SparseRows(counts.matrix, device)
        conditions = torch.as_tensor(counts.vectors, device=device)
        descent = self._descent(network, optimizer, len(conditions), random)

        def step() -> dict[str, Tensor]:
            rows = descent.users()
            x = real.dense(rows)
            shown = x * (torch.rand(x.shape, generator=random, device=device) >= config.dropout)
            noise = torch.randn(len(rows), config.latent, generator=random, device=device)
            condition = conditions[rows]
            given = torch.rand((len(rows), 1), generator=random, device=device) >= config.unknown
            condition = torch.cat([condition[:, :1], condition[:, 1:] * given], dim=1)
            beta = config.beta * (average.updates / (config.anneal * config.steps)).clamp(max=1.0)

            def losses(model: nn.Module) -> tuple[Tensor, Tensor]:
                """Of each user (B,): the loss, and the KL term in it."""
                misfit, kl = model(x, shown, condition, noise)
                return misfit + beta * kl, kl

            means = descent.step(losses)
            average.follow(network)
            return means

        return TrainState(
            modules={"network": network, "average": average},
            optimizers={"network": optimizer},
            step=step,
            statistics=lambda: self._statistics(self.shares),
            seed=self.seed,
            randoms={"training": random, **descent.randoms},
            capturable=self.budget is None,
        )

    def _descent(
        self,
        network: ProfileAutoencoder,
        optimizer: torch.optim.Optimizer,
        n: int,
        random: torch.Generator,
    ) -> Descent | PrivateDescent:
        """What takes the steps."""
        config = self.config
        if self.budget is None:
            return Descent(network, optimizer, n, config.batch_size, random)
        return PrivateDescent(
            network,
            optimizer,
            self.budget,
            max_norm=config.privacy.max_norm,
            n_users=n,
            seed=self.seed,
        )

    def _draw_details(
        self, positions: np.ndarray, lengths: np.ndarray, random: np.random.Generator
    ) -> pl.DataFrame:
        # private details do not depend on items: they are those of a catalogue of one
        items = positions if self.budget is None else np.zeros_like(positions)
        return self.details.draw(items, lengths, random)

    @torch.inference_mode()
    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        device, random = self.device, self._random(seed)
        parts = [np.empty(0, np.int64)]
        for batch in self._batches(len(rows)):
            chosen = rows[batch]
            codes = torch.randn(len(chosen), self.config.latent, generator=random, device=device)
            if self.codes is not None:
                codes = self._near_users(chosen, codes, random)
            condition = torch.as_tensor(self.conditions.vectors(chosen), device=device)
            logits = self.network.decode(codes, condition)
            parts.append(gumbel_top_k(logits, self.conditions.lengths[chosen], random))
        return np.concatenate(parts)

    def _near_users(self, rows: np.ndarray, prior: Tensor, random: torch.Generator) -> Tensor:
        """Codes (B, latent) between draws from the prior and from the posteriors of training
        users."""
        assert self.codes is not None
        mean, log_variance = (
            torch.as_tensor(part[rows], device=prior.device) for part in self.codes
        )
        noise = torch.randn(prior.shape, generator=random, device=prior.device)
        posterior = mean + noise * torch.exp(log_variance / 2)
        closeness = self.config.closeness
        return closeness * posterior + (1 - closeness**2) ** 0.5 * prior

    @torch.inference_mode()
    def _encode(self, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log variance float32 (n, latent) of the training users' codes."""
        device, parts = self.device, []
        sparse = SparseRows(counts.matrix, device)
        for rows in self._batches(counts.matrix.shape[0]):
            x = sparse.dense(torch.as_tensor(rows, device=device))
            condition = torch.as_tensor(counts.vectors[rows], device=device)
            parts.append(self.network.encode(x, condition))
        mean, log_variance = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return mean, log_variance

    def _new_network(self) -> ProfileAutoencoder:
        config, width = self.config, self.conditions.width
        with seeded_weights(self.seed):
            network = ProfileAutoencoder(len(self.items), width, config.hidden, config.latent)
        return network.to(self.device)

    def _build(self) -> None:
        self.network = self._new_network()

    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def _state(self) -> dict[str, np.ndarray]:
        codes = {} if self.codes is None else dict(zip(_CODES, self.codes, strict=True))
        spent = {} if self.budget is None else self.budget.state()
        return {**super()._state(), "shares": self.shares, **codes, **spent}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.shares = state["shares"]
        self.codes = (state[_CODES[0]], state[_CODES[1]]) if _CODES[0] in state else None
        self.budget = Budget.from_state(state) if self.config.privacy is not None else None
        super()._restore(state)
