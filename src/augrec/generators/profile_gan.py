"""A conditional GAN over user profiles: the items that a user of a given profile length and given
attributes would have."""

from __future__ import annotations

from typing import cast

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field, model_validator
from torch import Tensor

from augrec.core.data_shape import DataShape
from augrec.core.seeds import derive, rng
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.generators._profile import networks
from augrec.generators._profile.counts import Counts, profiles
from augrec.generators._profile.decode import gumbel_top_k
from augrec.generators._training.adversarial import Batch, GanConfig, gan_train_state
from augrec.generators._training.modules import seeded_weights
from augrec.generators._training.train_state import TrainState
from augrec.generators.base import realness_table
from augrec.generators.neural import LARGE_CATALOGUES, NeuralGenerator
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads
from augrec.nn.memory import check_memory
from augrec.nn.sparse_rows import SparseRows

_CELLS_AT_ONCE = 2**24
_PACKINGS = 8
_NUMBERS_AT_ONCE = 22
"""For each user and item of a batch, while the critic takes a step: measured."""


class ProfileGanConfig(GanConfig):
    """Sizes of the networks, and their training."""

    batch_size: int = Field(64, ge=2)
    """Users in a batch."""
    feature_matching: float = Field(0.0, ge=0.0)
    """Weight of the distance between the critic's mean features of real and fake profiles in the
    generator's loss."""
    packing: int = Field(1, ge=1)
    """Profiles the critic scores at once (PacGAN), so that it detects a lack of variety; divides
    the batch size."""
    noise: int = Field(64, ge=1)
    """Width of the generator's noise."""
    hidden: int = Field(256, ge=1)
    """Width of the hidden layers of both networks."""
    temperature: float = Field(0.7, gt=0.0)
    """Of the relaxed Bernoulli that carries the gradient."""

    @model_validator(mode="after")
    def _packs_are_whole(self) -> ProfileGanConfig:
        if self.batch_size % self.packing:
            raise ValueError(f"packing {self.packing} does not divide batch_size {self.batch_size}")
        return self


class ProfileGan(NeuralGenerator):
    """An MLP draws 0/1 profiles through a straight-through relaxed Bernoulli against a penalised
    critic.

    Samples take the averaged weights and Gumbel-top-k at the lengths of real profiles, so that a
    synthetic user has distinct items and a length that occurs. Memory grows with batch size ×
    items.
    """

    Config = ProfileGanConfig

    network: networks.ProfileGenerator
    critic: networks.ProfileCritic

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        config = self.config
        check_memory(
            self.section(),
            self.device,
            shape.n_items,
            learnt=(1 + config.packing) * config.hidden,
            averaged=config.hidden,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
            instead=LARGE_CATALOGUES,
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        counts = self._count(data)
        self._train(lambda lr_factor: self._start(counts, lr_factor), data)

    def _start(self, counts: Counts, lr_factor: float) -> TrainState:
        """A fresh training, its learning rates multiplied by `lr_factor`."""
        config, device = self.config, self.device
        random = self._random(derive(self.seed, "training"))
        generator, critic = self._new_networks()
        generator.start_at(counts.shares)
        popularity = np.asarray(counts.matrix.sum(axis=0)).ravel()
        real = SparseRows(counts.matrix, device)
        conditions = torch.as_tensor(counts.vectors, device=device)

        def batch() -> Batch:
            rows = torch.randint(
                len(conditions), (config.batch_size,), generator=random, device=device
            )
            condition = conditions[rows]
            noise = torch.randn(len(rows), config.noise, generator=random, device=device)
            logits = generator(noise, condition)
            fake = networks.straight_through(logits, config.temperature, random)
            return real.dense(rows), fake, condition

        def matching(real: Tensor, fake: Tensor, condition: Tensor) -> Tensor:
            distance = networks.feature_distance(critic, real, fake, condition)
            return config.feature_matching * distance

        state = gan_train_state(
            config,
            generator,
            critic,
            batch,
            random=random,
            seed=self.seed,
            lr_factor=lr_factor,
            statistics=lambda average: self._statistics(popularity),
            more_loss=matching if config.feature_matching else None,
        )
        average = cast(MovingAverage, state.modules["average"])
        self.network, self.critic = cast(networks.ProfileGenerator, average.module), critic
        return state

    @torch.no_grad()
    def realness(self, sample: pl.DataFrame) -> pl.DataFrame:
        """The critic's score of each user of a sample: see `Generator.realness`. Unknown attributes
        are taken to be the mean of the training users'."""
        histories = Histories.from_interactions(sample, self.items)
        matrix, known = profiles(histories), self.conditions
        unknown = np.full((len(histories), known.codes.shape[1]), -1)
        condition = known.encode(np.diff(matrix.indptr), unknown)
        condition[:, 1:] = known.vectors(np.arange(len(known.lengths)))[:, 1:].mean(axis=0)
        with fixed_threads(self.config.threads):
            scores = self._scores(matrix, condition) if len(histories) else np.empty(0, np.float32)
        return realness_table(histories.users, scores)

    def _scores(self, matrix: sp.csr_matrix, condition: np.ndarray) -> np.ndarray:
        """Float32 (n,): the mean score of the packs that a user is in; with a packing above 1 each
        user is packed with others a few times."""
        n, packing, random = matrix.shape[0], self.config.packing, rng(self.seed, "packs")
        device, total, scored = self.device, np.zeros(n), np.zeros(n)
        sparse = SparseRows(matrix, device)
        rounds = _PACKINGS if packing > 1 else 1
        size = packing * max(1, _CELLS_AT_ONCE // (len(self.items) * packing))
        for _ in range(rounds):
            order = np.resize(random.permutation(n), -(-n // packing) * packing)
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                given = torch.as_tensor(condition[rows], device=device)
                scores = self.critic(sparse.dense(torch.as_tensor(rows, device=device)), given)
                np.add.at(total, rows, np.repeat(scores.cpu().numpy(), packing))
                np.add.at(scored, rows, 1)
        return (total / scored).astype(np.float32)

    @torch.no_grad()
    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        device, random = self.device, self._random(seed)
        parts = [np.empty(0, np.int64)]
        for batch in self._batches(len(rows)):
            chosen = rows[batch]
            condition = torch.as_tensor(self.conditions.vectors(chosen), device=device)
            noise = torch.randn(len(chosen), self.config.noise, generator=random, device=device)
            logits = self.network(noise, condition)
            parts.append(gumbel_top_k(logits, self.conditions.lengths[chosen], random))
        return np.concatenate(parts)

    def _new_networks(self) -> tuple[networks.ProfileGenerator, networks.ProfileCritic]:
        config, width, n_items = self.config, self.conditions.width, len(self.items)
        with seeded_weights(self.seed):
            generator = networks.ProfileGenerator(config.noise, width, config.hidden, n_items)
            critic = networks.ProfileCritic(width, config.hidden, n_items, config.packing)
        return generator.to(self.device), critic.to(self.device)

    def _build(self) -> None:
        self.network, self.critic = self._new_networks()

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"network": self.network, "critic": self.critic}
