"""A conditional GAN over user profiles: which items a person of a given profile length and attributes would have."""

from __future__ import annotations

import copy
import logging
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from augrec.component import ComponentConfig
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.errors import ConfigError, RefusedError
from augrec.generators import _networks as networks
from augrec.generators._conditions import Conditions
from augrec.generators._decode import gumbel_top_k
from augrec.generators._details import RowDetails, build_interactions
from augrec.generators.base import Generator, Lesson, Log
from augrec.seeds import derive, rng

_logger = logging.getLogger(__name__)
_EXPLODED = 1e6
_CELLS_AT_ONCE = 2**24
_LOOK_AT_USERS = 256


class ProfileGanConfig(ComponentConfig):
    """Knobs of the profile GAN."""

    steps: int = Field(400, ge=1)
    """Generator updates."""
    batch_size: int = Field(64, ge=2)
    """Users in a batch."""
    critic_steps: int = Field(1, ge=1)
    """Critic updates for each generator update."""
    loss: networks.Loss = "relativistic"
    """Relativistic pairing loss with R1 and R2, or Wasserstein loss with a gradient penalty (WGAN-GP)."""
    penalty: float = Field(1.0, ge=0.0)
    """Weight of the gradient penalty; with the Wasserstein loss 10 is usual, with 3 critic steps."""
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
    """User attributes with more different values are left out; numbers are cut at their quartiles instead."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes. More than one is many times slower where cores are busy."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train and sample; "auto" takes CUDA where there is one. Bytes are the same on the same device only."""


class ProfileGan(Generator):
    """An MLP draws 0/1 profiles through a straight-through relaxed Bernoulli against a penalised critic.

    Samples take the averaged weights and Gumbel-top-k at the lengths of real profiles, so that a synthetic user has
    distinct items and no length that nobody has. Memory grows with batch size × items.
    """

    Config = ProfileGanConfig

    items: ItemIndex
    conditions: Conditions
    details: RowDetails
    network: networks.ProfileGenerator

    def _fit(self, lesson: Lesson) -> None:
        interactions, users = lesson.interactions, lesson.users
        self.items = ItemIndex(interactions[C.ITEM])
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
        with networks.fixed_threads(self.config.threads):
            self._train(matrix, lesson.log)

    def _train(self, matrix: sp.csr_matrix, log: Log) -> None:
        config, device = self.config, self._device()
        random, noise_random = rng(self.seed, "batches"), self._noise_random(derive(self.seed, "noise"))
        popularity = np.asarray(matrix.sum(axis=0)).ravel()
        generator, critic = self._new_networks()
        generator.start_at((popularity + 0.5) / (matrix.shape[0] + 1.0))
        self.network = copy.deepcopy(generator)
        generator_optimizer = torch.optim.Adam(generator.parameters(), config.learning_rate, betas=(0.0, 0.9))
        critic_optimizer = torch.optim.Adam(critic.parameters(), config.learning_rate, betas=(0.0, 0.9))

        def batch() -> tuple[Tensor, Tensor, Tensor]:
            """Real and fake profiles (B, n_items) under the same conditions (B, width)."""
            rows = random.integers(0, matrix.shape[0], config.batch_size)
            condition = torch.as_tensor(self.conditions.vectors(rows), device=device)
            noise = torch.randn(len(rows), config.noise, generator=noise_random, device=device)
            fake = networks.straight_through(generator(noise, condition), config.temperature, noise_random)
            return networks.dense_rows(matrix, rows, device), fake, condition

        for step in range(1, config.steps + 1):
            for _ in range(config.critic_steps):
                with torch.no_grad():
                    real, fake, condition = batch()
                critic_loss = networks.critic_loss(
                    config.loss, critic, real, fake, condition, config.penalty, noise_random
                )
                _update(critic_optimizer, critic_loss)
            real, fake, condition = batch()
            generator_loss = networks.generator_loss(config.loss, critic, real, fake, condition)
            _update(generator_optimizer, generator_loss)
            # a young average must not remember the first weights for long
            networks.move_average(self.network, generator, min(config.average, (1 + step) / (10 + step)))
            if step % config.log_every == 0 or step == config.steps:
                losses = {"critic": critic_loss.item(), "generator": generator_loss.item()}
                _check(step, losses)
                log({"step": step, **losses, **self._look(popularity)})

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self.conditions.draw(n, condition, rng(seed, "conditions"))
        lengths = self.conditions.lengths[rows]
        with networks.fixed_threads(self.config.threads):
            positions = self._profiles(rows, derive(seed, "profiles"))
        details = self.details.draw(positions, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

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
            parts.append(gumbel_top_k(self.network(noise, condition), self.conditions.lengths[batch], random))
        return np.concatenate(parts)

    def _look(self, popularity: np.ndarray) -> dict[str, float]:
        """Coverage and popularity correlation of a small sample from the averaged weights."""
        rows = self.conditions.draw(_LOOK_AT_USERS, {}, rng(self.seed, "look"))
        drawn = np.bincount(self._profiles(rows, derive(self.seed, "look")), minlength=len(self.items))
        varied = drawn.std() > 0 and popularity.std() > 0
        return {
            "coverage": float((drawn > 0).mean()),
            "popularity_correlation": float(np.corrcoef(drawn, popularity)[0, 1]) if varied else 0.0,
        }

    def _new_networks(self) -> tuple[networks.ProfileGenerator, networks.ProfileCritic]:
        config, width, device = self.config, self.conditions.width, self._device()
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "weights"))
            generator = networks.ProfileGenerator(config.noise, width, config.hidden, len(self.items))
            critic = networks.ProfileCritic(width, config.hidden, len(self.items))
        return generator.to(device), critic.to(device)

    def _device(self) -> torch.device:
        wanted = self.config.device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "there is no CUDA device here", where="generators.profile_gan.device", fix="set it to auto"
            )
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(wanted)

    def _noise_random(self, seed: int) -> torch.Generator:
        return torch.Generator(self._device()).manual_seed(seed)

    def _state(self) -> dict[str, np.ndarray]:
        weights = {
            f"network.{name}": value.cpu().numpy() for name, value in self.network.state_dict().items()
        }
        return {"items": self.items.ids, **self.conditions.state(), **self.details.state(), **weights}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state["items"])
        self.conditions = Conditions.from_state(state)
        self.details = RowDetails.from_state(state)
        self.network, _ = self._new_networks()
        self.network.load_state_dict(
            {
                name.removeprefix("network."): torch.as_tensor(a)
                for name, a in state.items()
                if name.startswith("network.")
            }
        )


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _check(step: int, losses: dict[str, float]) -> None:
    """Broken weights never mend, so looking at every logged step is enough."""
    broken = {name: value for name, value in losses.items() if not abs(value) < _EXPLODED}
    if broken:
        seen = ", ".join(f"{name} loss {value:g}" for name, value in broken.items())
        raise RefusedError(
            f"training of the profile GAN broke: {seen} at step {step}",
            where="generators.profile_gan",
            fix="lower learning_rate or raise penalty, then run again",
        )
