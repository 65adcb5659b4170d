"""A conditional variational autoencoder over user profiles; differentially private where that is
asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails, build_interactions
from augrec.generators._conditions import Conditions
from augrec.generators._privacy.budget import Budget, PrivacyConfig, secret_seed
from augrec.generators._privacy.counts import PUBLIC, private_counts
from augrec.generators._privacy.steps import PrivateDescent, train_privately
from augrec.generators._profile.counts import Counts, profiles
from augrec.generators._profile.decode import gumbel_top_k
from augrec.generators._profile.vae import Descent, ProfileAutoencoder
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.loop import fingerprint, train
from augrec.generators._training.memory import check_memory
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.monitor import LOOK_AT_USERS, look
from augrec.generators._training.train_state import Course
from augrec.generators.base import Generator
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads
from augrec.nn.device import Device, choose_device
from augrec.nn.sparse_rows import SparseRows

_logger = logging.getLogger(__name__)
_CELLS_AT_ONCE = 2**24
_NUMBERS_AT_ONCE = 6
"""For each user and item of a batch, while a step is taken: measured."""
_CODES = ("code_mean", "code_log_variance")


class ProfileVaeConfig(BaseConfig):
    """Knobs of the profile VAE."""

    steps: int = Field(300, ge=1)
    """Updates."""
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
    """Chance of a training user's attributes to be hidden: profiles of unknown people can be judged
    too."""
    beta: float = Field(1.0, ge=0.0)
    """Weight of the KL term; at 1 the loss is the ELBO and samples from the prior are sound."""
    anneal: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the steps over which that weight grows from 0."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights; samples come from the average."""
    sampling: Literal["prior", "posterior"] = "prior"
    """Codes drawn from the prior; or near the codes of training users, truer to the data and less
    private."""
    closeness: float = Field(0.5, ge=0.0, le=1.0)
    """Posterior sampling: how near to a training user's code; 1 draws from the posterior, 0 from
    the prior."""
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values are left out; numbers are cut at their quartiles
    instead."""
    privacy: PrivacyConfig | None = None
    """Differential privacy; null: none."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes; more than one is slower where cores are
    busy."""
    device: Device = "auto"
    """Where to train and sample; "auto" takes CUDA where there is one. Bytes are the same on one
    device only."""


class ProfileVae(Generator):
    """Multinomial VAE of profiles (Liang et al. 2018, arXiv 1802.05814) given length and
    attributes, sampled.

    Maximises the ELBO Σ_u Σ_i x_ui log softmax(f(z_u, c_u))_i - beta KL(q(z_u | x_u, c_u) || N(0,
    I)). A sample draws a code, decodes it under a condition, and takes items by Gumbel-top-k at the
    length of the condition, so that items are distinct and drawn as the likelihood says.

    **Prior sampling** draws codes from N(0, I), which knows no single user. **Posterior sampling**
    keeps the codes of the training users (no ids) and draws near them, under the same user's
    condition. A code tells much of a profile: to publish no one's, the draw is a mixture a·(μ + σ
    ε) + √(1 - a²)·ε' of posterior and prior, a being `closeness`, and items are drawn anew. That
    lowers the risk and bounds nothing: the audit's attack says how much is given away.

    **With `privacy`** every weight and every stored number is (ε, δ)-differentially private for
    users; see `augrec.generators._privacy.budget` for the promise, and why the seed must be secret,
    and `_private_counts` for what is taken as public. `facts` gives it all for sample.json. The
    curve holds no losses then, a broken training is not tried again,
    and posterior sampling is refused: losses, retries and codes all come from real users.
    """

    Config = ProfileVaeConfig

    items: ItemIndex
    details: RowDetails
    shares: np.ndarray
    """Float32 (n_items,): how likely each item is in a profile."""
    network: ProfileAutoencoder
    codes: tuple[np.ndarray, np.ndarray] | None = None
    """Posterior sampling: mean and log variance float32 (n, latent) of each row of the
    conditions."""
    budget: Budget | None = None
    """Differential privacy: what was spent."""

    def facts(self) -> dict[str, object]:
        """With privacy: {"privacy": the promise, what was spent, and what it does not cover}."""
        if self.budget is None:
            return {}
        return {"privacy": self.budget.facts(self.config.privacy, PUBLIC)}

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame:
        """How much better the model tells each profile than popularity alone does.

        The ELBO less the log likelihood of items drawn by popularity, a likelihood ratio (arXiv
        1906.02845: likelihoods alone prefer whatever is common), for each item of the profile; less
        what the profile's length explains of that within the sample, so that long profiles are not
        thought odd for being long. Attributes count as unknown.
        """
        histories = Histories.from_interactions(sample.select(C.USER, C.ITEM), self.items)
        matrix, device = profiles(histories), self._device()
        sparse = SparseRows(matrix, device)
        lengths = np.diff(matrix.indptr)
        unknown = np.full((len(histories), len(self.conditions.labels)), -1)
        condition = self.conditions.encode(lengths, unknown)
        elbo = np.empty(len(histories))
        with fixed_threads(self.config.threads), torch.inference_mode():
            for rows in self._batches(len(histories)):
                x = sparse.dense(torch.as_tensor(rows, device=device))
                noise = torch.zeros(len(rows), self.config.latent, device=device)
                misfit, kl = self.network(
                    x, x, torch.as_tensor(condition[rows], device=device), noise
                )
                elbo[rows] = -(misfit + kl).cpu().numpy()
        ratio = (elbo - matrix @ np.log(self.shares / self.shares.sum())) / np.maximum(lengths, 1)
        if len(np.unique(lengths)) > 1:
            ratio -= np.polyval(np.polyfit(np.log1p(lengths), ratio, 1), np.log1p(lengths))
        return pl.DataFrame(
            {C.USER: histories.users.tolist(), "realness": ratio},
            schema={C.USER: pl.String, "realness": pl.Float32},
        )

    def _fit(self, lesson: Lesson) -> None:
        config = self.config
        if config.privacy is None:
            counts = Counts.of(lesson, config.max_attribute_values)
        else:
            counts = self._count_privately(lesson, config.privacy)
        self.items, self.conditions, self.details = counts.items, counts.conditions, counts.details
        self.shares = counts.shares.astype(np.float32)
        check_memory(
            self.name(),
            self._device(),
            len(self.items),
            learnt=2 * config.hidden,
            averaged=2 * config.hidden,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
        )
        _logger.info(
            "%d users, %d items, condition of width %d, on %s",
            *counts.matrix.shape,
            self.conditions.width,
            self._device(),
        )
        with fixed_threads(config.threads):
            (train if self.budget is None else train_privately)(
                lambda gentler: self._begin(counts, gentler),
                name=self.name(),
                steps=config.steps,
                log_every=config.log_every,
                lesson=lesson,
                fingerprint=fingerprint(self, lesson),
            )
            if config.sampling == "posterior":
                self.codes = self._encode(counts)

    def _count_privately(self, lesson: Lesson, privacy: PrivacyConfig) -> Counts:
        if self.config.sampling == "posterior":
            raise ConfigError(
                "posterior sampling keeps the codes of real users, which no privacy budget covers",
                where="generators.profile_vae.sampling",
                fix="set it to prior, or privacy to null",
            )
        n_users = lesson.interactions[C.USER].n_unique()
        self.budget = Budget.plan(privacy, n_users, self.config.batch_size, self.config.steps)
        _logger.info(
            "epsilon %.3g, delta %.3g, noise %.3g",
            self.budget.epsilon(),
            self.budget.delta,
            self.budget.noise,
        )
        random = np.random.default_rng(secret_seed(self.seed, "counts"))
        return private_counts(lesson, privacy, self.budget.statistics_noise, random)

    def _begin(self, counts: Counts, gentler: float) -> Course:
        """A fresh training, its learning rate multiplied by `gentler`."""
        config, device = self.config, self._device()
        network = self._new_network()
        network.start_at(self.shares)
        average = MovingAverage(network, config.average)
        self.network = cast(ProfileAutoencoder, average.module)
        optimizer = torch.optim.Adam(
            network.parameters(), config.learning_rate * gentler, fused=True
        )
        random = self._random(derive(self.seed, "training"))
        people, conditions = (
            SparseRows(counts.matrix, device),
            torch.as_tensor(counts.vectors, device=device),
        )
        descend = self._descent(network, optimizer, len(conditions), random)

        def step() -> dict[str, Tensor]:
            rows = descend.users()
            x = people.dense(rows)
            shown = x * (torch.rand(x.shape, generator=random, device=device) >= config.dropout)
            noise = torch.randn(len(rows), config.latent, generator=random, device=device)
            condition = conditions[rows]
            known = torch.rand((len(rows), 1), generator=random, device=device) >= config.unknown
            condition = torch.cat([condition[:, :1], condition[:, 1:] * known], dim=1)
            beta = config.beta * (average.updates / (config.anneal * config.steps)).clamp(max=1.0)

            def losses(model: nn.Module) -> tuple[Tensor, Tensor]:
                """Of each user (B,): the loss, and the KL term in it."""
                misfit, kl = model(x, shown, condition, noise)
                return misfit + beta * kl, kl

            told = descend.on(losses)
            average.follow(network)
            return told

        return Course(
            modules={"network": network, "average": average},
            optimizers={"network": optimizer},
            step=step,
            look=self._look,
            seed=self.seed,
            randoms={"training": random, **descend.randoms},
            capturable=self.budget is None,
        )

    def _descent(
        self,
        network: ProfileAutoencoder,
        optimizer: torch.optim.Optimizer,
        n: int,
        random: torch.Generator,
    ) -> Descent | PrivateDescent:
        """How steps are taken."""
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

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._people(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with fixed_threads(self.config.threads):
            positions = self._profiles(rows, derive(seed, "profiles"))
        # private details do not know items: they are those of a catalogue of one
        known = positions if self.budget is None else np.zeros_like(positions)
        details = self.details.draw(known, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

    @torch.inference_mode()
    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Item positions int64 (nnz,) of one user for each condition row, in the order drawn."""
        device, random = self._device(), self._random(seed)
        parts = [np.empty(0, np.int64)]
        for batch in self._batches(len(rows)):
            chosen = rows[batch]
            codes = torch.randn(len(chosen), self.config.latent, generator=random, device=device)
            if self.codes is not None:
                codes = self._near(chosen, codes, random)
            condition = torch.as_tensor(self.conditions.vectors(chosen), device=device)
            logits = self.network.decode(codes, condition)
            parts.append(gumbel_top_k(logits, self.conditions.lengths[chosen], random))
        return np.concatenate(parts)

    def _near(self, rows: np.ndarray, prior: Tensor, random: torch.Generator) -> Tensor:
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
        """Mean and log variance float32 (n, latent) of the training users."""
        device, parts = self._device(), []
        profiles = SparseRows(counts.matrix, device)
        for rows in self._batches(counts.matrix.shape[0]):
            x = profiles.dense(torch.as_tensor(rows, device=device))
            parts.append(
                self.network.encode(x, torch.as_tensor(counts.vectors[rows], device=device))
            )
        mean, log_variance = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return mean, log_variance

    def _look(self) -> dict[str, float]:
        """Measures a small sample from the averaged weights."""
        rows = self.conditions.draw(LOOK_AT_USERS, {}, rng(self.seed, "look"))
        positions = self._profiles(rows, derive(self.seed, "look"))
        return look(positions, self.conditions.lengths[rows], len(self.items), self.shares)

    def _batches(self, n: int) -> Iterator[np.ndarray]:
        """Rows 0 … n-1, few enough at once."""
        size = max(1, _CELLS_AT_ONCE // len(self.items))
        for start in range(0, n, size):
            yield np.arange(start, min(start + size, n))

    def _new_network(self) -> ProfileAutoencoder:
        config = self.config
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "weights"))
            network = ProfileAutoencoder(
                len(self.items), self.conditions.width, config.hidden, config.latent
            )
        return network.to(self._device())

    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def _random(self, seed: int) -> torch.Generator:
        return torch.Generator(self._device()).manual_seed(seed)

    def _state(self) -> dict[str, np.ndarray]:
        codes = {} if self.codes is None else dict(zip(_CODES, self.codes, strict=True))
        spent = {} if self.budget is None else self.budget.state()
        counted = {
            "items": self.items.ids,
            "shares": self.shares,
            **self.conditions.state(),
            **self.details.state(),
        }
        return counted | codes | spent | to_arrays({"network": self.network})

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items, self.shares = ItemIndex(state["items"]), state["shares"]
        self.conditions = Conditions.from_state(state)
        self.details = RowDetails.from_state(state)
        self.codes = (state[_CODES[0]], state[_CODES[1]]) if _CODES[0] in state else None
        self.budget = Budget.from_state(state) if self.config.privacy is not None else None
        self.network = self._new_network()
        from_arrays(state, {"network": self.network})
