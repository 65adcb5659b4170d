"""CFGAN as a generator: it continues a few items under noise, so that one start leads to many
different profiles."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import polars as pl
import torch
from pydantic import Field

from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import WHERE
from augrec.generators._profile.decode import with_gumbel
from augrec.generators._training.train_state import TrainState
from augrec.generators.neural import LARGE_CATALOGUES, NeuralGenerator, NeuralGeneratorConfig
from augrec.nn.averages import MovingAverage
from augrec.nn.cfgan import (
    AdversarialConfig,
    AdversarialTrainer,
    CfganCritic,
    CfganGenerator,
    check_cfgan_memory,
)
from augrec.nn.determinism import reproducible
from augrec.nn.profile_batches import ProfileBatches

ITEMS = "items"
"""The condition that names the items every profile starts with."""


class CfganConfig(AdversarialConfig, NeuralGeneratorConfig):
    """The adversarial training, its length, and how samples are drawn."""

    passes: ClassVar[float] = 100

    beginning: int = Field(1, ge=1)
    """Items, drawn by popularity, that each profile starts with."""


class Cfgan(NeuralGenerator):
    """The per-user conditional GAN of `augrec.nn.cfgan.AdversarialTrainer`, sampled.

    A synthetic user starts with a few items, those that the condition {"items": [...]} names or
    some drawn by popularity, and has one draw of noise. The generator is given the items so far and
    adds as many again, by Gumbel-top-k, until the profile has the length of a real one. No profile
    of a real user is kept or started from. Attributes decide lengths alone. Memory grows with batch
    size × items.
    """

    Config = CfganConfig

    popularity: np.ndarray
    """Each item's share of all entries of training profiles, float32 (n_items,)."""
    network: CfganGenerator

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        check_cfgan_memory(
            self.config, self.section(), self.device, shape.n_items, instead=LARGE_CATALOGUES
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        matrix, config = self._count(data).matrix, self.config
        users = matrix.getnnz(axis=0)  # (n_items,): of each item
        self.popularity = (users / matrix.nnz).astype(np.float32)
        histories = Histories.from_interactions(data.interactions, self.items)
        with reproducible(derive(self.seed, "training"), config.threads):
            self._train(lambda lr_factor: self._start(histories, users, lr_factor), data)

    def _start(self, histories: Histories, users: np.ndarray, lr_factor: float) -> TrainState:
        """A fresh training, its learning rates multiplied by `lr_factor`."""
        torch.manual_seed(derive(self.seed, "training", str(lr_factor)))
        config, device = self.config, self.device
        generator = CfganGenerator(len(self.items), config).to(device)
        generator.start_at((users / len(histories)).astype(np.float32))
        critic = CfganCritic(len(self.items), config.critic_hidden).to(device)
        trainer = AdversarialTrainer(generator, critic, config, lr_factor)
        batches = ProfileBatches(histories, device)
        average = MovingAverage(generator, config.average)
        self.network = cast(CfganGenerator, average.module)

        def step() -> dict[str, torch.Tensor]:
            chosen = torch.randint(len(histories), (config.batch_size,), device=device)
            losses = trainer.step(batches.batch(chosen, config.truncate))
            average.follow(generator)
            return losses

        return TrainState(
            modules={"writer": generator, "critic": critic, "average": average},
            optimizers=trainer.optimisers,
            step=step,
            statistics=lambda: self._statistics(users),
            seed=self.seed,
        )

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        named = self._named_items(condition[ITEMS]) if ITEMS in condition else None
        lengths = self.conditions.lengths[self._draw_conditions(n, condition, seed)]
        with reproducible(derive(seed, "unused"), self.config.threads):
            positions = self._continued(lengths, named, derive(seed, "profiles"))
        return self._interactions(positions, lengths, seed)

    def _draw_conditions(self, n: int, condition: dict[str, object], seed: int) -> np.ndarray:
        others = {name: wanted for name, wanted in condition.items() if name != ITEMS}
        return super()._draw_conditions(n, others, seed)

    def _named_items(self, wanted: object) -> np.ndarray:
        """Positions of the items that a condition names."""
        names = [str(one) for one in (wanted if isinstance(wanted, list | tuple) else [wanted])]
        found = self.items.encode(pl.Series(names, dtype=pl.String))
        unknown = [name for name, at in zip(names, found, strict=True) if at < 0]
        if unknown:
            raise ConfigError(
                f"no training user met {', '.join(unknown)}",
                where=WHERE,
                fix="name items of the training interactions",
            )
        return found

    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._continued(self.conditions.lengths[rows], None, seed)

    @torch.no_grad()
    def _continued(self, lengths: np.ndarray, named: np.ndarray | None, seed: int) -> np.ndarray:
        """Item positions int64 (nnz,) of profiles of these lengths, in the order drawn; each item
        once in a profile.

        Args:
            lengths: int64 (n,).
            named: positions of the items that all start with; None: drawn by popularity.
            seed: of the draw.
        """
        device, random = self.device, self._random(seed)
        first = torch.from_numpy(self.popularity).to(device).clamp(min=1e-12).log()
        if named is not None:
            first[torch.from_numpy(named.astype(np.int64)).to(device)] = 1e6  # before all others
        head = self.config.beginning if named is None else len(set(named.tolist()))
        parts = [np.empty(0, np.int64)]
        for batch in self._batches(len(lengths)):
            wanted = torch.from_numpy(lengths[batch]).to(device)
            noise = torch.randn(len(wanted), self.config.noise, generator=random, device=device)
            items = torch.full((len(wanted), int(wanted.max())), -1, device=device)
            have = wanted.clamp(max=head)
            _add_items(items, first.expand(len(wanted), -1), have, random)
            while have.lt(wanted).any():
                have = torch.minimum(2 * have, wanted)
                logits = self.network.write(self.network.state_of(items, noise))
                _add_items(items, logits, have, random)
            parts.append(items[items >= 0].cpu().numpy())
        return np.concatenate(parts)

    def _build(self) -> None:
        network = CfganGenerator(len(self.items), self.config)
        self.network = network.to(self.device).requires_grad_(False)

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"network": self.network}

    def _state(self) -> dict[str, np.ndarray]:
        return {**super()._state(), "popularity": self.popularity}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.popularity = state["popularity"]
        super()._restore(state)


def _add_items(
    items: torch.Tensor, scores: torch.Tensor, upto: torch.Tensor, random: torch.Generator
) -> None:
    """Add items to profiles until each has `upto`, int64 (B,), by Gumbel-top-k (arXiv 1903.06059).

    Args:
        items: those so far, in the order drawn, int64 (B, longest), then -1; changed in place.
        scores: float32 (B, n_items), not normalised.
        upto: at least as many as each profile has.
        random: on the device.
    """
    have = (items >= 0).sum(1)
    noisy = with_gumbel(scores, random)
    row, place = (items >= 0).nonzero(as_tuple=True)
    noisy[row, items[row, place]] = -torch.inf
    best = noisy.topk(int((upto - have).max()), dim=1).indices
    wanted = torch.arange(best.shape[1], device=best.device) < (upto - have)[:, None]
    row, number = wanted.nonzero(as_tuple=True)
    items[row, have[row] + number] = best[row, number]
