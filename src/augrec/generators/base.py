"""The contract every generator keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from augrec.core import component
from augrec.core.component import Component
from augrec.core.errors import InputError, RefusedError
from augrec.core.seeds import rng
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C
from augrec.data.row_details import user_ids
from augrec.data.training_data import Hardware
from augrec.generators._conditions import Conditions
from augrec.generators._training.lesson import Lesson, Log

Direction = Literal["left", "right"]
"""Of an extension: before the first interaction of a history, or after the last."""
EXTENSIONS, DIRECTION, PLACE = "extensions", "direction", "place"
"""The table of extensions that lies with a sample, and its columns beside the canonical ones: which
side, and how far from the real rows, 1 being next to them."""

_WHERE = "generator training interactions"


class Generator(Component):
    """Learns from real interactions; draws synthetic ones of people who never were.

    A subclass implements `_fit`, `_sample`, and the component's `_state` and `_restore`. It learns
    and restores `conditions`, and draws whom it makes up by `_people`.
    """

    conditions: Conditions
    """What its users can be asked to be."""

    def fit(
        self,
        interactions: pl.DataFrame,
        *,
        users: pl.DataFrame | None = None,
        items: pl.DataFrame | None = None,
        log: Log | None = None,
        checkpoints: Path | None = None,
        hardware: Hardware | None = None,
    ) -> Generator:
        """Learn.

        Args:
            interactions, users, items, log, checkpoints, hardware: see `Lesson`; all but the first
                are optional.

        Raises:
            InputError: no rows, or columns are missing.
            RefusedError: rows are not real, or training broke (NaN, explosion): there is no
                generator to use.
        """
        require(interactions, INTERACTIONS, where=_WHERE)
        if interactions.is_empty():
            raise InputError(
                "there is nothing to learn from", where=_WHERE, fix="check the data window"
            )
        if not interactions[C.ORIGIN].eq_missing(REAL).all():
            others = sorted(
                interactions.filter(pl.col(C.ORIGIN).ne_missing(REAL))[C.ORIGIN]
                .fill_null("null")
                .unique()
            )
            raise RefusedError(
                "a generator learns from real interactions only; some rows come from "
                f"{', '.join(others[:5])}",
                where=_WHERE,
                fix="give it data/training_set, not an augmented training set",
            )
        lesson = Lesson(
            interactions,
            users,
            items,
            log or (lambda row: None),
            checkpoints,
            hardware or Hardware(),
        )
        self._fit(lesson)
        return self

    def sample(
        self, n: int, *, condition: Mapping[str, object] | None = None, seed: int | None = None
    ) -> pl.DataFrame:
        """Draw n synthetic users.

        Args:
            n: how many users.
            condition: e.g. {"length": "1-5"} (distinct items), and attributes by their labels;
                nothing draws conditions as frequent as in the training data.
            seed: of the draw; the generator's own seed when absent.

        Returns:
            Canonical interactions of n users, sorted by user and time; `origin` is the generator's
            name, user ids are "synthetic:<name>:<number>", so that they can never meet a real id of
            the data they are mixed into.
        """
        return self._sample(n, dict(condition or {}), self.seed if seed is None else seed)

    def attributes(
        self, n: int, *, condition: Mapping[str, object] | None = None, seed: int | None = None
    ) -> pl.DataFrame | None:
        """Who the users are that `sample` draws when it is asked the same.

        Args:
            n, condition, seed: as for `sample`.

        Returns:
            user_id (sorted), and an Enum of its labels for each attribute that can be asked for:
            numbers are ranges, "unknown" is who has none. None: there are no such attributes.
        """
        if not self.conditions.labels:
            return None
        rows = self._people(n, dict(condition or {}), self.seed if seed is None else seed)
        return self.conditions.attributes(rows).insert_column(
            0, user_ids(self.name(), np.arange(n))
        )

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """How real each user of a sample looks to the generator's own critic.

        Args:
            sample: canonical interactions, as `sample` gives them; other users with known items can
                be judged too.

        Returns:
            user_id (sorted), realness (Float32, the higher the more real, comparable within one
            sample only); None: this generator has no critic.
        """
        return None

    def extend(
        self, interactions: pl.DataFrame, *, n: int, direction: Direction, seed: int | None = None
    ) -> pl.DataFrame | None:
        """Guess what else people did, before ("left") or after ("right") what is known of them.

        Args:
            interactions: canonical, of training users.
            n: how many rows to write for each user; fewer where the catalogue has no more.
            direction: on which side of the history.
            seed: of the draw; the generator's own seed when absent.

        Returns:
            Canonical interactions of these users under their own ids, the new rows alone, sorted by
            user and time; `origin` is the generator's name. They belong to real people: no such row
            may be given away. None: this generator extends no histories.
        """
        return None

    def facts(self) -> dict[str, object]:
        """What a fitted generator's samples must be published with, as JSON has it; most have
        nothing to say.

        A differentially private generator gives {"privacy": {"epsilon": …, "delta": …, …}}, one
        that makes rows up for items that no training user met {"new_items": [their ids]}.
        """
        return {}

    def _people(self, n: int, condition: dict[str, object], seed: int) -> np.ndarray:
        """Rows of `conditions` int64 (n,) whose lengths and attributes the users of a sample
        have."""
        return self.conditions.draw(n, condition, rng(seed, "conditions"))

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
