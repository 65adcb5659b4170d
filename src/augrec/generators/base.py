"""The contract every generator keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from augrec import component
from augrec.component import Component
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C
from augrec.errors import InputError, RefusedError

Log = Callable[[Mapping[str, float]], None]
"""Receives one row of a training curve, e.g. {"step": 100, "critic": 0.7, "generator": 0.9}."""


_WHERE = "generator training interactions"


@dataclass(frozen=True)
class Lesson:
    """What a generator learns from.

    Attributes:
        interactions: canonical interactions of training users, all of them real.
        users: user attributes to condition on, one row a user; None: there are none.
        items: what is known of the items (see `augrec.data.columns.ITEMS`); None: nothing.
        log: receives the training curve.
        checkpoints: a folder for the latest sound state of the training, which an interrupted training of the same
            configuration and data goes on from; None: none is kept.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame | None
    items: pl.DataFrame | None
    log: Log
    checkpoints: Path | None


class Generator(Component):
    """Learns from real interactions; draws synthetic ones of people who never were.

    A subclass implements `_fit`, `_sample`, and the component's `_state` and `_restore`.
    """

    def fit(
        self,
        interactions: pl.DataFrame,
        *,
        users: pl.DataFrame | None = None,
        items: pl.DataFrame | None = None,
        log: Log | None = None,
        checkpoints: Path | None = None,
    ) -> Generator:
        """Learn.

        Args:
            interactions, users, items, log, checkpoints: see `Lesson`; all but the first are optional.

        Raises:
            InputError: no rows, or columns are missing.
            RefusedError: rows are not real, or training broke (NaN, explosion): there is no generator to use.
        """
        require(interactions, INTERACTIONS, where=_WHERE)
        if interactions.is_empty():
            raise InputError("there is nothing to learn from", where=_WHERE, fix="check the data window")
        if not interactions[C.ORIGIN].eq_missing(REAL).all():
            others = sorted(
                interactions.filter(pl.col(C.ORIGIN).ne_missing(REAL))[C.ORIGIN].fill_null("null").unique()
            )
            raise RefusedError(
                f"a generator learns from real interactions only; some rows come from {', '.join(others[:5])}",
                where=_WHERE,
                fix="give it data/training_set, not an augmented training set",
            )
        self._fit(Lesson(interactions, users, items, log or (lambda row: None), checkpoints))
        return self

    def sample(
        self, n: int, *, condition: Mapping[str, object] | None = None, seed: int | None = None
    ) -> pl.DataFrame:
        """Draw n synthetic users.

        Args:
            n: how many users.
            condition: e.g. {"length": "1-5"} (distinct items); nothing draws conditions as frequent as in the training
                data.
            seed: of the draw; the generator's own seed when absent.

        Returns:
            Canonical interactions of n users, sorted by user and time; `origin` is the generator's name, user ids are
            "synthetic:<name>:<number>", so that they can never meet a real id of the data they are mixed into.
        """
        return self._sample(n, dict(condition or {}), self.seed if seed is None else seed)

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """How real each user of a sample looks to the generator's own critic.

        Args:
            sample: canonical interactions, as `sample` gives them; other users with known items can be judged too.

        Returns:
            user_id (sorted), realness (Float32, the higher the more real, comparable within one sample only); None:
            this generator has no critic.
        """
        return None

    @abstractmethod
    def _fit(self, lesson: Lesson) -> None: ...

    @abstractmethod
    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame: ...


def find(name: str) -> type[Generator]:
    """The generator class called `name`."""
    return component.find("augrec.generators", name, Generator)  # type: ignore[type-abstract]


def load(path: Path) -> Generator:
    """Load any saved generator."""
    return component.load("augrec.generators", path, Generator)  # type: ignore[type-abstract]
