"""CFGAN as a generator: from a few items and noise it writes on, so that one beginning becomes many
different people."""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import polars as pl
import torch
from pydantic import Field

from augrec.core.errors import ConfigError
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails, build_interactions
from augrec.generators._conditions import WHERE, Conditions
from augrec.generators._profile.decode import with_gumbel
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.loop import fingerprint, train
from augrec.generators._training.memory import check_memory
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.monitor import LOOK_AT_USERS, look
from augrec.generators._training.train_state import Course
from augrec.generators.base import Generator
from augrec.nn.averages import MovingAverage
from augrec.nn.cfgan import AdversarialConfig, AdversarialTrainer, CfganCritic, CfganGenerator
from augrec.nn.determinism import reproducible
from augrec.nn.device import choose_device
from augrec.nn.profile_batches import ProfileBatches

_logger = logging.getLogger(__name__)
_CELLS = 2**24
_NUMBERS_AT_ONCE = 19
"""For each user and item of a batch, while a step is taken: measured."""
ITEMS = "items"
"""The condition that names what everybody begins with."""


class CfganConfig(AdversarialConfig):
    """The rules of the game, its length, and how samples are written."""

    steps: int = Field(400, ge=1)
    """Updates of both networks."""
    beginning: int = Field(1, ge=1)
    """So many items, drawn by popularity, each made-up person begins with."""
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values cannot be asked for; numbers are cut at their
    quartiles instead."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes."""


class Cfgan(Generator):
    """The per-user conditional GAN of `augrec.nn.cfgan.AdversarialTrainer`, sampled.

    A made-up person begins with a few items, those that the condition {"items": [...]} names or
    some drawn by popularity, and has one draw of noise. The generator reads what there is and
    writes as many items again, by Gumbel-top-k, until the profile has the length of a real one. No
    profile of a real user is kept or begun at. Attributes decide lengths alone. Memory grows with
    batch size × items.
    """

    Config = CfganConfig

    items: ItemIndex
    popularity: np.ndarray
    details: RowDetails
    network: CfganGenerator

    def _fit(self, lesson: Lesson) -> None:
        interactions, config = lesson.interactions, self.config
        self.items = ItemIndex(interactions[C.ITEM])
        check_memory(
            self.name(),
            self._device(),
            len(self.items),
            learnt=2 * (config.hidden + config.critic_hidden),
            averaged=2 * config.hidden,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
        )
        histories = Histories.from_interactions(interactions, self.items)
        matrix = histories.matrix()
        met = np.asarray((matrix > 0).sum(0)).ravel()
        self.popularity = (met / matrix.nnz).astype(np.float32)
        lengths = np.diff(matrix.indptr)
        self.conditions = Conditions.of(
            histories.users, lengths, lesson.users, config.max_attribute_values
        )
        self.details = RowDetails.of(interactions, self.items)
        _logger.info(
            "%d users, %d items, %d interactions, on %s", *matrix.shape, matrix.nnz, self._device()
        )
        with reproducible(derive(self.seed, "training"), config.threads):
            train(
                lambda gentler: self._begin(histories, met, gentler),
                name=self.name(),
                steps=config.steps,
                log_every=config.log_every,
                lesson=lesson,
                fingerprint=fingerprint(self, lesson),
            )

    def _begin(self, histories: Histories, met: np.ndarray, gentler: float) -> Course:
        """A fresh training, its learning rates multiplied by `gentler`."""
        torch.manual_seed(derive(self.seed, "training", str(gentler)))
        config, where = self.config, self._device()
        writer = CfganGenerator(len(self.items), config).to(where)
        writer.start_at((met / len(histories)).astype(np.float32))
        critic = CfganCritic(len(self.items), config.critic_hidden).to(where)
        game, examples = (
            AdversarialTrainer(writer, critic, config, gentler),
            ProfileBatches(histories, where),
        )
        average = MovingAverage(writer, config.average)
        self.network = cast(CfganGenerator, average.module)

        def step() -> dict[str, torch.Tensor]:
            users = torch.randint(len(histories), (config.batch_size,), device=where)
            losses = game.step(examples.batch(users, config.truncate))
            average.follow(writer)
            return losses

        return Course(
            modules={"writer": writer, "critic": critic, "average": average},
            optimizers=game.optimisers,
            step=step,
            look=lambda: self._look(met),
            seed=self.seed,
        )

    def _look(self, met: np.ndarray) -> dict[str, float]:
        rows = self.conditions.draw(LOOK_AT_USERS, {}, rng(self.seed, "look"))
        lengths = self.conditions.lengths[rows]
        return look(
            self._write(lengths, None, derive(self.seed, "look")), lengths, len(self.items), met
        )

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        begun = self._named(condition[ITEMS]) if ITEMS in condition else None
        rows = self._people(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with reproducible(derive(seed, "unused"), self.config.threads):
            positions = self._write(lengths, begun, derive(seed, "profiles"))
        details = self.details.draw(positions, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

    def _people(self, n: int, condition: dict[str, object], seed: int) -> np.ndarray:
        return super()._people(
            n, {name: wanted for name, wanted in condition.items() if name != ITEMS}, seed
        )

    def _named(self, wanted: object) -> np.ndarray:
        """Positions of the items that a condition names."""
        names = (
            [str(each) for each in wanted] if isinstance(wanted, list | tuple) else [str(wanted)]
        )
        found = self.items.encode(pl.Series(names, dtype=pl.String))
        if (found < 0).any():
            raise ConfigError(
                "no training user met "
                f"{', '.join(name for name, at in zip(names, found, strict=True) if at < 0)}",
                where=WHERE,
                fix="name items of the training interactions",
            )
        return found

    @torch.no_grad()
    def _write(self, lengths: np.ndarray, begun: np.ndarray | None, seed: int) -> np.ndarray:
        """Item positions int64 (nnz,) of profiles of these lengths, in the order written; each item
        once a profile."""
        where, size = self.network.where, max(1, _CELLS // len(self.items))
        random = torch.Generator(where).manual_seed(seed)
        first = torch.from_numpy(self.popularity).to(where).clamp(min=1e-12).log()
        if begun is not None:
            first[torch.from_numpy(begun.astype(np.int64)).to(where)] = 1e6  # before all others
        head = self.config.beginning if begun is None else len(set(begun.tolist()))
        parts = [np.empty(0, np.int64)]
        for start in range(0, len(lengths), size):
            wanted = torch.from_numpy(lengths[start : start + size]).to(where)
            noise = torch.randn(len(wanted), self.config.noise, generator=random, device=where)
            written = torch.full((len(wanted), int(wanted.max())), -1, device=where)
            have = wanted.clamp(max=head)
            _take(written, first.expand(len(wanted), -1), have, random)
            while have.lt(wanted).any():
                have = torch.minimum(2 * have, wanted)
                _take(
                    written, self.network.write(self.network.state_of(written, noise)), have, random
                )
            parts.append(written[written >= 0].cpu().numpy())
        return np.concatenate(parts)

    def _device(self) -> torch.device:
        return choose_device("auto", self.section())

    def _state(self) -> dict[str, np.ndarray]:
        own = {"items": self.items.ids, "popularity": self.popularity}
        return {
            **own,
            **self.conditions.state(),
            **self.details.state(),
            **to_arrays({"network": self.network}),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items, self.popularity = ItemIndex(state["items"]), state["popularity"]
        self.conditions, self.details = Conditions.from_state(state), RowDetails.from_state(state)
        self.network = (
            CfganGenerator(len(self.items), self.config).to(self._device()).requires_grad_(False)
        )
        from_arrays(state, {"network": self.network})


def _take(
    written: torch.Tensor, scores: torch.Tensor, upto: torch.Tensor, random: torch.Generator
) -> None:
    """Write items into profiles until each has `upto`, int64 (B,), by Gumbel-top-k (arXiv
    1903.06059).

    Args:
        written: items in the order they were written, int64 (B, longest), -1 behind them; changed.
        scores: float32 (B, n_items), not normalised.
        upto: at least as many as there are.
        random: on the device.
    """
    have = (written >= 0).sum(1)
    noisy = with_gumbel(scores, random)
    row, place = (written >= 0).nonzero(as_tuple=True)
    noisy[row, written[row, place]] = -torch.inf
    best = noisy.topk(int((upto - have).max()), dim=1).indices
    row, number = (
        torch.arange(best.shape[1], device=best.device) < (upto - have)[:, None]
    ).nonzero(as_tuple=True)
    written[row, have[row] + number] = best[row, number]
