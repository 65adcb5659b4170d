"""A sequence generator: histories written row by row, by likelihood, and a discriminator that
chooses among them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import reduce
from typing import Literal, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator

from augrec.core.config import BaseConfig
from augrec.core.seeds import derive, rng
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.row_details import build_interactions
from augrec.generators._conditions import Conditions
from augrec.generators._sequence import networks
from augrec.generators._sequence import training as courses
from augrec.generators._sequence.sampler import Pen, Task
from augrec.generators._sequence.tokens import Rows, Tokens
from augrec.generators._sequence.windows import Pieces, Readings
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.loop import fingerprint, train
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.monitor import LOOK_AT_USERS, look
from augrec.generators._training.train_state import Course
from augrec.generators.base import Direction, Generator
from augrec.nn.determinism import fixed_threads, reproducible
from augrec.nn.device import choose_device

_logger = logging.getLogger(__name__)
_USERS_AT_ONCE = 2**14
"""So many people's candidates are held at once."""


class SequenceGanConfig(BaseConfig):
    """Knobs of the sequence generator."""

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
    """So many of the latest rows are read; longer histories are cut into windows that overlap by
    half."""
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    """Share of the inner values hidden while training."""
    backward: bool = True
    """Whether histories are learnt from their end to their beginning too, so that they can be
    extended to the left."""
    unknown: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the windows whose attributes are hidden, so that histories of unknown people can be
    extended."""
    steps: int = Field(600, ge=1)
    """Updates by likelihood."""
    batch_size: int = Field(32, ge=1)
    """Windows in one."""
    learning_rate: float = Field(3e-3, gt=0.0)
    """Adam's step size."""
    average: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights; histories are written by the average."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Cross-entropy over all items, over drawn ones, or full up to `max_full_items`."""
    max_full_items: int = Field(20_000, ge=1)
    """The largest catalogue that `loss: auto` takes in full."""
    negatives: int = Field(2048, ge=1)
    """Items drawn in each step for the sampled loss."""
    shortlist: int = Field(16_384, ge=1)
    """Items drawn to choose a row's from, beyond `max_full_items`."""
    n_values: int = Field(10, ge=1)
    """Values of an event beyond so many different ones are cut at their quantiles."""
    n_gaps: int = Field(32, ge=1)
    """Parts into which time gaps are cut, at their quantiles."""
    critic_steps: int = Field(150, ge=0)
    """Updates of the discriminator, when the writer is done; 0: there is none."""
    critic_users: int = Field(2000, ge=2)
    """So many histories are written for it to learn from, at most as many as there are people."""
    selection: Literal["none", "resample", "best"] = "resample"
    """How one of the candidates is chosen: in proportion to the odds that it is real, or the most
    real one."""
    candidates: int = Field(3, ge=1)
    """Histories written for each that is kept."""
    temperature: float = Field(1.0, gt=0.0)
    """Of the items drawn; below 1 likely ones become likelier."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Items are drawn from the likeliest that hold this share of the probability."""
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values are left out; numbers are cut at their quartiles
    instead."""
    log_every: int = Field(50, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.factors % self.heads:
            raise ValueError(
                f"{self.factors} factors cannot be shared out among {self.heads} heads"
            )
        if self.selection != "none" and not self.critic_steps:
            raise ValueError(
                "to choose among candidates takes critic_steps above 0, or selection: none"
            )
        return self


class SequenceGan(Generator):
    """A recurrent network or a transformer writes items, events, values and time gaps one row after
    another.

    It learns by likelihood; a discriminator then learns to tell its histories from real ones. Of
    some candidates for each synthetic user one is kept by the odds that it is real
    (sampling-importance-resampling with the discriminator's density ratio, arXiv 1810.06758,
    1906.09531), within the same length and attributes, so that these stay as they are. Read
    backwards, histories are extended to the left (pseudo-prior items, arXiv 2105.00522).
    """

    Config = SequenceGanConfig

    items: ItemIndex
    tokens: Tokens
    writer: networks.Writer
    critic: networks.Critic

    def _fit(self, lesson: Lesson) -> None:
        config = self.config
        self.items = ItemIndex(lesson.interactions[C.ITEM])
        self.tokens, rows, users = Tokens.of(
            lesson.interactions, self.items, config.n_values, config.n_gaps
        )
        self.conditions = Conditions.of(
            users, rows.lengths, lesson.users, config.max_attribute_values
        )
        _logger.info(
            "%d users, %d items, %d rows, %d kinds of event and value, %d gaps, on %s",
            len(users),
            len(self.items),
            len(rows.items),
            len(self.tokens.kind_events),
            self.tokens.n_gaps,
            self._device(),
        )
        popularity = np.bincount(rows.items, minlength=len(self.items)) / len(rows.items)
        with reproducible(derive(self.seed, "weights"), config.threads):
            self.writer, self.critic = self._new_networks()
            self._train(
                lambda factor: self._writing(rows, popularity, factor),
                "writer",
                config.steps,
                lesson,
            )
            if config.critic_steps:
                self._train(
                    lambda factor: self._judging(rows, factor),
                    "critic",
                    config.critic_steps,
                    lesson,
                )

    def _train(
        self, begin: Callable[[float], Course], part: str, steps: int, lesson: Lesson
    ) -> None:
        """Train one network after the other; the steps of the curve go on where the first one
        ended."""
        lesson = lesson.part(part, after=self.config.steps if part == "critic" else 0)
        train(
            begin,
            name=self.name(),
            steps=steps,
            log_every=self.config.log_every,
            lesson=lesson,
            fingerprint=fingerprint(self, lesson),
        )

    def _writing(self, rows: Rows, popularity: np.ndarray, factor: float) -> Course:
        torch.manual_seed(derive(self.seed, "writer"))
        self.writer, _ = self._new_networks()
        self.writer.start_at(torch.from_numpy(popularity).float())
        conditions = self._conditions(np.arange(len(rows.lengths)))
        return courses.writing(
            self.config,
            self.writer,
            rows,
            self.tokens,
            conditions,
            popularity,
            factor,
            self.seed,
            lambda: self._look(popularity),
        )

    def _judging(self, rows: Rows, factor: float) -> Course:
        torch.manual_seed(derive(self.seed, "critic"))
        _, self.critic = self._new_networks()
        for name in ("items", "kinds", "gaps"):
            getattr(self.critic, name).load_state_dict(getattr(self.writer, name).state_dict())
        random = rng(self.seed, "critic")
        people = random.permutation(len(rows.lengths))[: self.config.critic_users]
        made = self._written(
            self.conditions.draw(len(people), {}, random), derive(self.seed, "critic")
        )
        real, fake = (self._pieces(part) for part in (rows.take(people, len(rows.items)), made))
        return courses.judging(self.config, self.critic, real, fake, factor, self.seed, random)

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        chosen = self._people(n, condition, seed)
        with fixed_threads(self.config.threads):
            parts = [
                self._best_of_candidates(
                    chosen[start : start + _USERS_AT_ONCE], derive(seed, "rows", start)
                )
                for start in range(0, max(n, 1), _USERS_AT_ONCE)
            ]
        rows = reduce(Rows.followed_by, parts)
        return build_interactions(
            self.name(), rows.lengths, self.items.decode(rows.items), self._details(rows, seed)
        )

    def _best_of_candidates(self, chosen: np.ndarray, seed: int) -> Rows:
        """One history for each condition row, int64 (n,), chosen from candidates with the same
        condition."""
        n, config = len(chosen), self.config
        candidates = 1 if config.selection == "none" else config.candidates
        written = self._written(np.repeat(chosen, candidates), seed)
        if candidates == 1 or not n:
            return written
        scores = self._realness(written).reshape(n, candidates)
        if config.selection == "resample":
            scores = scores + rng(seed, "selection").gumbel(size=scores.shape)
        return written.take(np.arange(n) * candidates + scores.argmax(1), len(written.items))

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """The discriminator's log odds that a history is real."""
        if not self.config.critic_steps:
            return None
        rows, users = self.tokens.encode(sample, self.items)
        with fixed_threads(self.config.threads):
            scores = self._realness(rows)
        return pl.DataFrame(
            {C.USER: users.tolist(), "realness": scores},
            schema={C.USER: pl.String, "realness": pl.Float32},
        )

    def extend(
        self, interactions: pl.DataFrame, *, n: int, direction: Direction, seed: int | None = None
    ) -> pl.DataFrame | None:
        """Read the histories, backwards for the left, and write on; attributes are taken as
        unknown."""
        if direction == "left" and not self.config.backward:
            return None
        seed = derive(self.seed if seed is None else seed, "extend", direction)
        random = torch.Generator(self._device()).manual_seed(derive(seed, "rows"))
        known, users = self.tokens.encode(interactions, self.items)
        backwards, lengths = direction == "left", known.lengths
        counts = np.minimum(n, len(self.items) - lengths)
        context = known.backwards() if backwards else known
        parts = [pl.DataFrame(schema=dict(INTERACTIONS))]
        with fixed_threads(self.config.threads):
            pen = self._pen()
            for read in np.unique(np.minimum(lengths, self.config.length)):
                people = np.flatnonzero(
                    (np.minimum(lengths, self.config.length) == read) & (counts > 0)
                )
                if not len(people):
                    continue
                condition = self._unknown_people((lengths + counts)[people], backwards)
                task = Task(
                    condition,
                    counts[people],
                    context.take(people, len(known.items)),
                    int(read),
                    backwards,
                )
                rows = pen.write(task, random)
                rows = rows.backwards() if backwards else rows
                parts.append(self._rows_of(users[people], rows, derive(seed, int(read))))
        return pl.concat(parts).sort(C.USER, C.TIMESTAMP, maintain_order=True)

    def _rows_of(self, users: np.ndarray, rows: Rows, seed: int) -> pl.DataFrame:
        table = build_interactions(
            self.name(), rows.lengths, self.items.decode(rows.items), self._details(rows, seed)
        )
        return table.with_columns(
            pl.Series(C.USER, np.repeat(users, rows.lengths).tolist(), dtype=pl.String)
        )

    def _details(self, rows: Rows, seed: int) -> pl.DataFrame:
        """Event, value and time of rows."""
        found = self.tokens.events_and_values(rows.items, rows.kinds, rng(seed, "values"))
        return found.with_columns(pl.Series(C.TIMESTAMP, rows.times).cast(TIME))

    def _written(self, chosen: np.ndarray, seed: int) -> Rows:
        """Histories of people with the conditions of some training users, int64 (n,)."""
        random = torch.Generator(self._device()).manual_seed(seed)
        task = Task(self._conditions(chosen), self.conditions.lengths[chosen])
        return self._pen().write(task, random)

    def _pen(self) -> Pen:
        config = self.config
        return Pen(
            self.writer.eval(),
            self.tokens,
            config.length,
            temperature=config.temperature,
            top_p=config.top_p,
            shortlist=config.shortlist if len(self.items) > config.max_full_items else None,
        )

    def _realness(self, rows: Rows) -> np.ndarray:
        return self._pieces(rows).realness(self.critic.eval())

    def _pieces(self, rows: Rows) -> Pieces:
        return Pieces(Readings(rows, self.tokens, self._device()), self.config.length)

    def _conditions(self, chosen: np.ndarray) -> np.ndarray:
        """Float32 (n, width + 1): the conditions of some training users, read forwards."""
        return np.pad(self.conditions.vectors(chosen), ((0, 0), (0, 1)))

    def _unknown_people(self, lengths: np.ndarray, backwards: bool) -> np.ndarray:
        """Conditions of people of whom only the length, int64 (n,), is known, as float32 (n, width
        + 1)."""
        real = self.conditions.lengths  # what no training user had the network cannot read
        nothing = np.full((len(lengths), len(self.conditions.labels)), -1)
        found = self.conditions.encode(np.clip(lengths, real.min(), real.max()), nothing)
        return np.pad(found, ((0, 0), (0, 1)), constant_values=float(backwards))

    def _look(self, popularity: np.ndarray) -> dict[str, float]:
        """What a small sample from the averaged weights is like."""
        drawn = self.conditions.draw(LOOK_AT_USERS, {}, rng(self.seed, "look"))
        rows = self._written(drawn, derive(self.seed, "look"))
        return look(rows.items, rows.lengths, len(self.items), popularity)

    def _device(self) -> torch.device:
        return choose_device("auto", self.section())

    def _new_networks(self) -> tuple[networks.Writer, networks.Critic]:
        config, tokens = self.config, self.tokens
        shape = networks.Shape(
            config.network,
            len(self.items),
            len(tokens.kind_events),
            tokens.n_gaps,
            tokens.n_eras,
            self.conditions.width + 1,
            config.factors,
            config.hidden,
            config.layers,
            config.heads,
            config.length,
            config.dropout,
        )
        return networks.Writer(shape).to(self._device()), networks.Critic(
            networks.for_critic(shape)
        ).to(self._device())

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "items": self.items.ids,
            **self.conditions.state(),
            **self.tokens.state(),
            **to_arrays(self._modules()),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state["items"])
        self.conditions = Conditions.from_state(state)
        self.tokens = Tokens.from_state(state)
        with torch.random.fork_rng():
            self.writer, self.critic = self._new_networks()
        from_arrays(state, self._modules())

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"writer": self.writer, "critic": self.critic}
