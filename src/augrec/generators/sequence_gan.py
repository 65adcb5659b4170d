"""A sequence generator: histories drawn row by row, by likelihood, and a discriminator that selects
among candidates."""

from __future__ import annotations

import logging
from functools import reduce
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator

from augrec.core.config import Auto
from augrec.core.data_shape import DataShape
from augrec.core.seeds import derive, rng
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.row_details import build_interactions
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions
from augrec.generators._sequence import networks
from augrec.generators._sequence.sampler import SamplingTask, SequenceSampler
from augrec.generators._sequence.tokens import SequenceRows, Tokenizer
from augrec.generators._sequence.training import critic_train_state, generator_train_state
from augrec.generators._sequence.windows import Chunks, TokenTensors
from augrec.generators._training.loop import one_of_several
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.train_state import TrainState
from augrec.generators.base import Direction, realness_table
from augrec.generators.neural import NeuralGenerator, NeuralGeneratorConfig
from augrec.nn.determinism import fixed_threads, reproducible

_logger = logging.getLogger(__name__)
_USERS_AT_ONCE = 2**14
"""Users whose candidates are held at once."""


class SequenceGanConfig(NeuralGeneratorConfig):
    """Options of the sequence generator."""

    network: networks.Kind = "gru"
    """Recurrent, or causal attention."""
    factors: int = Field(64, ge=1)
    """Length of the vectors of items, events, gaps."""
    hidden: int = Field(128, ge=1)
    """Width of the recurrent state, or inside the feed-forward layers."""
    layers: int = Field(1, ge=1)
    """Recurrent layers, or blocks of attention."""
    heads: int = Field(2, ge=1)
    """Of attention; their number divides `factors`."""
    length: int = Field(50, ge=1)
    """Number of the latest rows that are read; longer histories are cut into windows that overlap
    by half."""
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    """Share of the inner values hidden while training."""
    backward: bool = True
    """Whether histories are learnt from their end to their start too, so that they can be extended
    to the left."""
    unknown: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the windows whose attributes are hidden, so that histories of users without
    attributes can be extended."""
    passes: ClassVar[float] = 20
    fewest_steps: ClassVar[int] = 600

    batch_size: int = Field(32, ge=1)
    """Windows in one."""
    learning_rate: float = Field(3e-3, gt=0.0)
    """Adam's step size."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights; histories are drawn from the average."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Cross-entropy over all items, over drawn ones, or full up to `max_full_items`."""
    max_full_items: int = Field(20_000, ge=1)
    """The largest catalogue that `loss: auto` takes in full."""
    negatives: int = Field(2048, ge=1)
    """Items drawn in each step for the sampled loss."""
    shortlist: int = Field(16_384, ge=1)
    """Items drawn to choose a row's from, beyond `max_full_items`."""
    n_values: int = Field(10, ge=1)
    """An event with more different values has them cut at their quantiles."""
    n_gaps: int = Field(32, ge=1)
    """Parts into which time gaps are cut, at their quantiles."""
    critic_steps: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Updates of the discriminator, after the generator's; 0: there is none. auto: a quarter of the
    generator's, which give it fewer and fewer faults to find."""
    critic_users: int = Field(2000, ge=2)
    """Histories drawn for it to learn from, at most as many as there are users."""
    selection: Literal["none", "resample", "best"] = "resample"
    """How one of the candidates is selected: in proportion to the odds that it is real, or the most
    real one."""
    candidates: int = Field(3, ge=1)
    """Histories drawn for each that is kept."""
    temperature: float = Field(1.0, gt=0.0)
    """Of the items drawn; below 1 likely ones become likelier."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Items are drawn from the likeliest that hold this share of the probability."""

    def share_read(self, shape: DataShape) -> float:
        """A step reads the latest rows of each of its windows."""
        return shape.share_read(self.batch_size, self.length)

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.factors % self.heads:
            raise ValueError(f"{self.heads} heads do not divide {self.factors} factors")
        if self.selection != "none" and not self.critic_steps:
            raise ValueError("selection needs critic_steps above 0, or set selection to none")
        return self


def critic_steps(shape: DataShape, config: SequenceGanConfig) -> int:
    """See `SequenceGanConfig.critic_steps`."""
    return max(1, int(config.steps) // 4)


class SequenceGan(NeuralGenerator):
    """A recurrent network or a transformer draws items, events, values and time gaps one row after
    another.

    It learns by likelihood; a discriminator then learns to tell its histories from real ones. Of
    some candidates for each synthetic user one is kept by the odds that it is real
    (sampling-importance-resampling with the discriminator's density ratio, arXiv 1810.06758,
    1906.09531), within the same length and attributes, so that these stay as they are. Read
    backwards, histories are extended to the left (pseudo-prior items, arXiv 2105.00522).
    """

    Config = SequenceGanConfig
    rules: ClassVar = {**NeuralGenerator.rules, "critic_steps": critic_steps}

    tokenizer: Tokenizer
    network: networks.SequenceGenerator
    critic: networks.SequenceCritic

    def _fit(self, data: TrainingData) -> None:
        config = self.config
        self.items = ItemIndex(data.interactions[C.ITEM])
        self.tokenizer, rows, users = Tokenizer.of(
            data.interactions, self.items, config.n_values, config.n_gaps
        )
        self.conditions = Conditions.of(
            users, rows.lengths, data.users, config.max_attribute_values
        )
        _logger.info(
            "%d users, %d items, %d rows, %d kinds of event and value, %d gaps",
            len(users),
            len(self.items),
            len(rows.items),
            len(self.tokenizer.kind_events),
            self.tokenizer.n_gaps,
        )
        popularity = np.bincount(rows.items, minlength=len(self.items)) / len(rows.items)
        with reproducible(derive(self.seed, "weights"), config.threads):
            self.network, self.critic = self._new_networks()
            self._train(
                lambda lr_factor: self._start_generator(rows, popularity, lr_factor),
                one_of_several(data, "writer"),
            )
            if config.critic_steps:
                self._train(
                    lambda lr_factor: self._start_critic(rows, lr_factor),
                    one_of_several(data, "critic", after=config.steps),
                    steps=config.critic_steps,
                )

    def _start_generator(
        self, rows: SequenceRows, popularity: np.ndarray, lr_factor: float
    ) -> TrainState:
        torch.manual_seed(derive(self.seed, "writer"))
        self.network, _ = self._new_networks()
        self.network.start_at(torch.from_numpy(popularity).float())
        return generator_train_state(
            self.config,
            self.network,
            rows,
            self.tokenizer,
            self._condition_vectors(np.arange(len(rows.lengths))),
            popularity,
            lr_factor=lr_factor,
            seed=self.seed,
            statistics=lambda: self._statistics(popularity),
        )

    def _start_critic(self, rows: SequenceRows, lr_factor: float) -> TrainState:
        torch.manual_seed(derive(self.seed, "critic"))
        _, self.critic = self._new_networks()
        for name in ("items", "kinds", "gaps"):
            getattr(self.critic, name).load_state_dict(getattr(self.network, name).state_dict())
        random = rng(self.seed, "critic")
        users = random.permutation(len(rows.lengths))[: self.config.critic_users]
        drawn = self._sequences(
            self.conditions.draw(len(users), {}, random), derive(self.seed, "critic")
        )
        real, fake = (self._chunks(part) for part in (rows.take(users, len(rows.items)), drawn))
        return critic_train_state(
            self.config,
            self.critic,
            real,
            fake,
            lr_factor=lr_factor,
            seed=self.seed,
            random=random,
        )

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        chosen = self._draw_conditions(n, condition, seed)
        with fixed_threads(self.config.threads):
            parts = [
                self._selected(chosen[start : start + _USERS_AT_ONCE], derive(seed, "rows", start))
                for start in range(0, max(n, 1), _USERS_AT_ONCE)
            ]
        return self._table(reduce(SequenceRows.followed_by, parts), seed)

    def _selected(self, chosen: np.ndarray, seed: int) -> SequenceRows:
        """One history for each condition row, int64 (n,), selected from candidates with the same
        condition."""
        n, config = len(chosen), self.config
        candidates = 1 if config.selection == "none" else config.candidates
        drawn = self._sequences(np.repeat(chosen, candidates), seed)
        if candidates == 1 or not n:
            return drawn
        scores = self._realness(drawn).reshape(n, candidates)
        if config.selection == "resample":
            scores = scores + rng(seed, "selection").gumbel(size=scores.shape)
        return drawn.take(np.arange(n) * candidates + scores.argmax(1), len(drawn.items))

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """The discriminator's log odds that a history is real."""
        if not self.config.critic_steps:
            return None
        rows, users = self.tokenizer.encode(sample, self.items)
        with fixed_threads(self.config.threads):
            return realness_table(users, self._realness(rows))

    def extend(
        self, interactions: pl.DataFrame, *, n: int, direction: Direction, seed: int | None = None
    ) -> pl.DataFrame | None:
        """Read the histories, backwards for the left, and continue them; attributes are taken as
        unknown."""
        if direction == "left" and not self.config.backward:
            return None
        seed = derive(self.seed if seed is None else seed, "extend", direction)
        random = self._random(derive(seed, "rows"))
        known, users = self.tokenizer.encode(interactions, self.items)
        backwards, lengths = direction == "left", known.lengths
        counts = np.minimum(n, len(self.items) - lengths)
        context = known.backwards() if backwards else known
        reads = np.minimum(lengths, self.config.length)
        parts = [pl.DataFrame(schema=dict(INTERACTIONS))]
        with fixed_threads(self.config.threads):
            sampler = self._sampler()
            for read in np.unique(reads):
                chosen = np.flatnonzero((reads == read) & (counts > 0))
                if not len(chosen):
                    continue
                task = SamplingTask(
                    self._length_vectors((lengths + counts)[chosen], backwards),
                    counts[chosen],
                    context.take(chosen, len(known.items)),
                    int(read),
                    backwards,
                )
                rows = sampler.sample(task, random)
                rows = rows.backwards() if backwards else rows
                ids = np.repeat(users[chosen], rows.lengths).tolist()
                table = self._table(rows, derive(seed, int(read)))
                parts.append(table.with_columns(pl.Series(C.USER, ids, dtype=pl.String)))
        return pl.concat(parts).sort(C.USER, C.TIMESTAMP, maintain_order=True)

    def _table(self, rows: SequenceRows, seed: int) -> pl.DataFrame:
        """Canonical interactions of synthetic users with these rows."""
        details = self.tokenizer.events_and_values(rows.items, rows.kinds, rng(seed, "values"))
        details = details.with_columns(pl.Series(C.TIMESTAMP, rows.times).cast(TIME))
        return build_interactions(self.name(), rows.lengths, self.items.decode(rows.items), details)

    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._sequences(rows, seed).items

    def _sequences(self, chosen: np.ndarray, seed: int) -> SequenceRows:
        """Histories under the conditions of some training users, int64 (n,)."""
        task = SamplingTask(self._condition_vectors(chosen), self.conditions.lengths[chosen])
        return self._sampler().sample(task, self._random(seed))

    def _sampler(self) -> SequenceSampler:
        config = self.config
        return SequenceSampler(
            self.network.eval(),
            self.tokenizer,
            config.length,
            temperature=config.temperature,
            top_p=config.top_p,
            shortlist=config.shortlist if len(self.items) > config.max_full_items else None,
        )

    def _realness(self, rows: SequenceRows) -> np.ndarray:
        return self._chunks(rows).realness(self.critic.eval())

    def _chunks(self, rows: SequenceRows) -> Chunks:
        return Chunks(TokenTensors(rows, self.tokenizer, self.device), self.config.length)

    def _condition_vectors(self, chosen: np.ndarray) -> np.ndarray:
        """Float32 (n, width + 1): the conditions of some training users, read forwards."""
        return np.pad(self.conditions.vectors(chosen), ((0, 0), (0, 1)))

    def _length_vectors(self, lengths: np.ndarray, backwards: bool) -> np.ndarray:
        """Float32 (n, width + 1): conditions of users with these lengths, int64 (n,), and unknown
        attributes."""
        real = self.conditions.lengths  # the network cannot extrapolate to other lengths
        unknown = np.full((len(lengths), len(self.conditions.labels)), -1)
        found = self.conditions.encode(np.clip(lengths, real.min(), real.max()), unknown)
        return np.pad(found, ((0, 0), (0, 1)), constant_values=float(backwards))

    def _new_networks(self) -> tuple[networks.SequenceGenerator, networks.SequenceCritic]:
        config, tokenizer = self.config, self.tokenizer
        shape = networks.NetworkShape(
            config.network,
            len(self.items),
            len(tokenizer.kind_events),
            tokenizer.n_gaps,
            tokenizer.n_eras,
            self.conditions.width + 1,
            config.factors,
            config.hidden,
            config.layers,
            config.heads,
            config.length,
            config.dropout,
        )
        generator = networks.SequenceGenerator(shape)
        critic = networks.SequenceCritic(networks.critic_shape(shape))
        return generator.to(self.device), critic.to(self.device)

    def _build(self) -> None:
        with torch.random.fork_rng():
            self.network, self.critic = self._new_networks()

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"writer": self.network, "critic": self.critic}

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "items": self.items.ids,
            **self.conditions.state(),
            **self.tokenizer.state(),
            **to_arrays(self._modules()),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state["items"])
        self.conditions = Conditions.from_state(state)
        self.tokenizer = Tokenizer.from_state(state)
        self._build()
        from_arrays(state, self._modules())
