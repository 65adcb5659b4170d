"""A conditional GAN over user profiles: which items a person of a given profile length and
attributes would have."""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field, model_validator
from torch import Tensor

from augrec.core.config import BaseConfig
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails, build_interactions
from augrec.generators._conditions import Conditions
from augrec.generators._profile import networks
from augrec.generators._profile.decode import gumbel_top_k
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.loop import fingerprint, train
from augrec.generators._training.memory import check_memory
from augrec.generators._training.modules import descend, from_arrays, to_arrays
from augrec.generators._training.monitor import LOOK_AT_USERS, look
from augrec.generators._training.train_state import Course
from augrec.generators.base import Generator
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads
from augrec.nn.device import Device, choose_device
from augrec.nn.sparse_rows import SparseRows

_logger = logging.getLogger(__name__)
_CELLS_AT_ONCE = 2**24
_PACKINGS = 8
_NUMBERS_AT_ONCE = 22
"""For each user and item of a batch, while the critic takes a step: measured."""


class ProfileGanConfig(BaseConfig):
    """Knobs of the profile GAN."""

    steps: int = Field(400, ge=1)
    """Generator updates."""
    batch_size: int = Field(64, ge=2)
    """Users in a batch."""
    critic_steps: int = Field(1, ge=1)
    """Critic updates for each generator update."""
    loss: networks.Loss = "relativistic"
    """Relativistic pairing loss with R1 and R2, or Wasserstein loss with a gradient penalty
    (WGAN-GP)."""
    penalty: float = Field(1.0, ge=0.0)
    """Weight of the gradient penalty; with the Wasserstein loss 10 is usual, with 3 critic
    steps."""
    feature_matching: float = Field(0.0, ge=0.0)
    """Weight of the distance between the critic's mean features of real and fake profiles in the
    generator's loss."""
    packing: int = Field(1, ge=1)
    """Profiles the critic judges at once (PacGAN), so that it sees a lack of variety; divides the
    batch size."""
    learning_rate: float = Field(1e-3, gt=0.0)
    """Adam's step size for both networks."""
    noise: int = Field(64, ge=1)
    """Width of the generator's noise."""
    hidden: int = Field(256, ge=1)
    """Width of the hidden layers of both networks."""
    temperature: float = Field(0.7, gt=0.0)
    """Of the relaxed Bernoulli that carries the gradient."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the generator's weights; samples come from the average."""
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values are left out; numbers are cut at their quartiles
    instead."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes. More than one is many times slower where
    cores are busy."""
    device: Device = "auto"
    """Where to train and sample; "auto" takes CUDA where there is one. Bytes are the same on the
    same device only."""

    @model_validator(mode="after")
    def _packs_are_whole(self) -> ProfileGanConfig:
        if self.batch_size % self.packing:
            raise ValueError(f"packing {self.packing} does not divide batch_size {self.batch_size}")
        return self


class ProfileGan(Generator):
    """An MLP draws 0/1 profiles through a straight-through relaxed Bernoulli against a penalised
    critic.

    Samples take the averaged weights and Gumbel-top-k at the lengths of real profiles, so that a
    synthetic user has distinct items and no length that nobody has. Memory grows with batch size ×
    items.
    """

    Config = ProfileGanConfig

    items: ItemIndex
    details: RowDetails
    network: networks.ProfileGenerator
    critic: networks.ProfileCritic

    def _fit(self, lesson: Lesson) -> None:
        interactions, users = lesson.interactions, lesson.users
        self.items = ItemIndex(interactions[C.ITEM])
        self._check_memory()
        histories = Histories.from_interactions(interactions, self.items)
        matrix = histories.matrix()
        self.conditions = Conditions.of(
            histories.users, np.diff(matrix.indptr), users, self.config.max_attribute_values
        )
        self.details = RowDetails.of(interactions, self.items)
        _logger.info(
            "%d users, %d items, %d interactions, condition of width %d, on %s",
            *matrix.shape,
            matrix.nnz,
            self.conditions.width,
            self._device(),
        )
        with fixed_threads(self.config.threads):
            train(
                lambda gentler: self._begin(matrix, gentler),
                name=self.name(),
                steps=self.config.steps,
                log_every=self.config.log_every,
                lesson=lesson,
                fingerprint=fingerprint(self, lesson),
            )

    def _check_memory(self) -> None:
        config = self.config
        check_memory(
            self.name(),
            self._device(),
            len(self.items),
            learnt=(1 + config.packing) * config.hidden,
            averaged=config.hidden,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
        )

    def _begin(self, matrix: sp.csr_matrix, gentler: float) -> Course:
        """A fresh training, its learning rates multiplied by `gentler`."""
        config, device = self.config, self._device()
        random = self._noise_random(derive(self.seed, "training"))
        popularity = np.asarray(matrix.sum(axis=0)).ravel()
        generator, critic = self._new_networks()
        generator.start_at((popularity + 0.5) / (matrix.shape[0] + 1.0))
        average = MovingAverage(generator, config.average)
        self.network, self.critic = cast(networks.ProfileGenerator, average.module), critic
        rate = config.learning_rate * gentler
        optimizers = {
            name: torch.optim.Adam(module.parameters(), rate, betas=(0.0, 0.9), fused=True)
            for name, module in (("generator", generator), ("critic", critic))
        }
        people, conditions = (
            SparseRows(matrix, device),
            torch.as_tensor(self.conditions.vectors(np.arange(matrix.shape[0])), device=device),
        )

        def batch() -> tuple[Tensor, Tensor, Tensor]:
            """Real and fake profiles (B, n_items) under the same conditions (B, width)."""
            rows = torch.randint(
                matrix.shape[0], (config.batch_size,), generator=random, device=device
            )
            condition = conditions[rows]
            noise = torch.randn(len(rows), config.noise, generator=random, device=device)
            fake = networks.straight_through(
                generator(noise, condition), config.temperature, random
            )
            return people.dense(rows), fake, condition

        def step() -> dict[str, Tensor]:
            for _ in range(config.critic_steps):
                with torch.no_grad():
                    real, fake, condition = batch()
                critic_loss, sure = networks.judge(
                    config.loss, critic, real, fake, condition, config.penalty, random
                )
                descend(optimizers["critic"], critic_loss, critic)
            real, fake, condition = batch()
            loss = networks.generator_loss(config.loss, critic, real, fake, condition)
            if config.feature_matching:
                distance = networks.feature_distance(critic, real, fake, condition)
                loss = loss + config.feature_matching * distance
            descend(optimizers["generator"], loss, generator)
            average.follow(generator)
            return {"critic": critic_loss, "generator": loss, **sure}

        return Course(
            modules={"generator": generator, "critic": critic, "average": average},
            optimizers=optimizers,
            step=step,
            look=lambda: self._look(popularity),
            seed=self.seed,
            randoms={"training": random},
            capturable=True,
        )

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._people(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with fixed_threads(self.config.threads):
            positions = self._profiles(rows, derive(seed, "profiles"))
        details = self.details.draw(positions, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

    @torch.no_grad()
    def realness(self, sample: pl.DataFrame) -> pl.DataFrame:
        """The critic's score of each user of a sample: see `Generator.realness`. Attributes are
        taken as usual."""
        histories = Histories.from_interactions(sample, self.items)
        matrix, people = histories.matrix(), self.conditions
        condition = people.encode(
            np.diff(matrix.indptr), np.full((matrix.shape[0], people.codes.shape[1]), -1)
        )
        condition[:, 1:] = people.vectors(np.arange(len(people.lengths)))[:, 1:].mean(axis=0)
        with fixed_threads(self.config.threads):
            scores = self._scores(matrix, condition) if matrix.shape[0] else np.empty(0, np.float32)
        return pl.DataFrame(
            {C.USER: histories.users.tolist(), "realness": scores},
            schema={C.USER: pl.String, "realness": pl.Float32},
        )

    def _scores(self, matrix: sp.csr_matrix, condition: np.ndarray) -> np.ndarray:
        """Float32 (n,): mean score of the packs that a user is in, with companions drawn anew a few
        times."""
        n, packing, random = matrix.shape[0], self.config.packing, rng(self.seed, "packs")
        device, total, judged = self._device(), np.zeros(n), np.zeros(n)
        profiles = SparseRows(matrix, device)
        rounds = _PACKINGS if packing > 1 else 1
        size = packing * max(1, _CELLS_AT_ONCE // (len(self.items) * packing))
        for _ in range(rounds):
            order = np.resize(random.permutation(n), -(-n // packing) * packing)
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                known = torch.as_tensor(condition[rows], device=device)
                scores = self.critic(profiles.dense(torch.as_tensor(rows, device=device)), known)
                np.add.at(total, rows, np.repeat(scores.cpu().numpy(), packing))
                np.add.at(judged, rows, 1)
        return (total / judged).astype(np.float32)

    @torch.no_grad()
    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Item positions int64 (nnz,) of one user for each condition row, in the order drawn."""
        device, random = self._device(), self._noise_random(seed)
        size = max(1, _CELLS_AT_ONCE // len(self.items))
        parts = [np.empty(0, np.int64)]
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            condition = torch.as_tensor(self.conditions.vectors(batch), device=device)
            noise = torch.randn(len(batch), self.config.noise, generator=random, device=device)
            parts.append(
                gumbel_top_k(self.network(noise, condition), self.conditions.lengths[batch], random)
            )
        return np.concatenate(parts)

    def _look(self, popularity: np.ndarray) -> dict[str, float]:
        """Measures a small sample from the averaged weights."""
        rows = self.conditions.draw(LOOK_AT_USERS, {}, rng(self.seed, "look"))
        positions = self._profiles(rows, derive(self.seed, "look"))
        return look(positions, self.conditions.lengths[rows], len(self.items), popularity)

    def _new_networks(self) -> tuple[networks.ProfileGenerator, networks.ProfileCritic]:
        config, width, device = self.config, self.conditions.width, self._device()
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "weights"))
            generator = networks.ProfileGenerator(
                config.noise, width, config.hidden, len(self.items)
            )
            critic = networks.ProfileCritic(width, config.hidden, len(self.items), config.packing)
        return generator.to(device), critic.to(device)

    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def _noise_random(self, seed: int) -> torch.Generator:
        return torch.Generator(self._device()).manual_seed(seed)

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "items": self.items.ids,
            **self.conditions.state(),
            **self.details.state(),
            **to_arrays(self._modules()),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state["items"])
        self.conditions = Conditions.from_state(state)
        self.details = RowDetails.from_state(state)
        self.network, self.critic = self._new_networks()
        from_arrays(state, self._modules())

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"network": self.network, "critic": self.critic}
