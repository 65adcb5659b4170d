"""The contract every generator keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import polars as pl

from augrec.core import component
from augrec.core.component import Component
from augrec.core.errors import InputError, RefusedError
from augrec.core.seeds import rng
from augrec.data.columns import INTERACTIONS, REAL, require
from augrec.data.columns import Columns as C
from augrec.data.row_details import synthetic_user_ids
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions

Direction = Literal["left", "right"]
"""Of an extension: before the first interaction of a history, or after the last."""
EXTENSIONS, DIRECTION, PLACE = "extensions", "direction", "place"
"""The table of extensions that is stored with a sample, and its columns besides the canonical ones:
which side, and how far from the real rows, 1 being next to them."""

_WHERE = "generator training interactions"


class Generator(Component):
    """Learns from real interactions; draws those of synthetic users.

    A subclass implements `_fit`, `_sample`, and the component's `_state` and `_restore`. It learns
    and restores `conditions`, and draws those of a sample's users by `_draw_conditions`.
    """

    draws: ClassVar[bool] = True
    """Whether another seed gives another fitted generator; samples always depend on their seed."""
    iterates: ClassVar[bool] = False
    """Whether training takes steps and logs a curve of them."""
    resumes: ClassVar[bool] = False
    """Whether an interrupted training continues from checkpoints, to the same bytes."""

    conditions: Conditions
    """The lengths and attributes that its users can be asked to have."""

    def fit(self, data: TrainingData) -> Self:
        """Learn.

        Args:
            data: interactions, all of them real, and optionally users, items, a log for the
                training curve, a folder for checkpoints, hardware; generators use no `cases`.

        Raises:
            InputError: there are no rows, or columns are missing.
            RefusedError: rows are not real, or training diverged: there is no generator to use.
        """
        require(data.interactions, INTERACTIONS, where=_WHERE)
        if data.interactions.is_empty():
            raise InputError(
                "there is nothing to learn from", where=_WHERE, fix="check the data window"
            )
        made = data.interactions.filter(pl.col(C.ORIGIN).ne_missing(REAL))[C.ORIGIN]
        if len(made):
            origins = sorted(made.fill_null("null").unique())
            raise RefusedError(
                "a generator learns from real interactions only; some rows come from "
                f"{', '.join(origins[:5])}",
                where=_WHERE,
                fix="give it data/training_set, not an augmented training set",
            )
        if not self.is_settled():
            self.settle(data.shape)
        self._fit(data)
        return self

    def sample(
        self, n: int, *, condition: Mapping[str, object] | None = None, seed: int | None = None
    ) -> pl.DataFrame:
        """Draw n synthetic users.

        Args:
            n: how many users.
            condition: e.g. {"length": "1-5"} (distinct items), and attributes by their labels;
                where absent, conditions are as frequent as in the training data.
            seed: of the draw; the generator's own seed when absent.

        Returns:
            Canonical interactions of n users, sorted by user and time; `origin` is the generator's
            name, user ids are "synthetic:<name>:<number>", so that none equals a real id of the
            data they are mixed into.
        """
        return self._sample(n, dict(condition or {}), self.seed if seed is None else seed)

    def attributes(
        self, n: int, *, condition: Mapping[str, object] | None = None, seed: int | None = None
    ) -> pl.DataFrame | None:
        """The attributes of the users that `sample` draws for the same arguments.

        Args:
            n, condition, seed: as for `sample`.

        Returns:
            user_id (sorted), and an Enum of its labels for each attribute that can be asked for:
            numbers are ranges, "unknown" is a missing value. None: there are no such attributes.
        """
        if not self.conditions.labels:
            return None
        rows = self._draw_conditions(n, dict(condition or {}), self.seed if seed is None else seed)
        return self.conditions.attributes(rows).insert_column(
            0, synthetic_user_ids(self.name(), np.arange(n))
        )

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """How real each user of a sample looks to the generator's own critic.

        Args:
            sample: canonical interactions, as `sample` gives them, or those of other users with
                items of the training data.

        Returns:
            user_id (sorted), realness (Float32, the higher the more real, comparable within one
            sample only); None: this generator has no critic.
        """
        return None

    def extend(
        self, interactions: pl.DataFrame, *, n: int, direction: Direction, seed: int | None = None
    ) -> pl.DataFrame | None:
        """Predict what else users did, before ("left") or after ("right") their known history.

        Args:
            interactions: canonical, of training users.
            n: rows to draw for each user; fewer where the catalogue has no more.
            direction: on which side of the history.
            seed: of the draw; the generator's own seed when absent.

        Returns:
            Canonical interactions of these users under their own ids, the new rows alone, sorted by
            user and time; `origin` is the generator's name. They belong to real users: no such row
            may be published. None: this generator extends no histories.
        """
        return None

    def facts(self) -> dict[str, object]:
        """Facts that a fitted generator's samples must be published with, as JSON has it; empty for
        most.

        A differentially private generator gives {"privacy": {"epsilon": …, "delta": …, …}}, one
        that draws rows for items that no training user met {"new_items": [their ids]}.
        """
        return {}

    def _draw_conditions(self, n: int, condition: dict[str, object], seed: int) -> np.ndarray:
        """Rows of `conditions`, int64 (n,), whose lengths and attributes the users of a sample
        have."""
        return self.conditions.draw(n, condition, rng(seed, "conditions"))

    @abstractmethod
    def _fit(self, data: TrainingData) -> None:
        """Learn from data that was checked."""

    @abstractmethod
    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        """See `sample`."""


def realness_table(users: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    """What `Generator.realness` returns, from user ids str (n,) and scores float (n,)."""
    return pl.DataFrame(
        {C.USER: users.tolist(), "realness": scores},
        schema={C.USER: pl.String, "realness": pl.Float32},
    )


def find(name: str) -> type[Generator]:
    """The generator class called `name`."""
    return component.find("augrec.generators", name, Generator)  # type: ignore[type-abstract]


def load(path: Path) -> Generator:
    """Load any saved generator."""
    return component.load("augrec.generators", path, Generator)  # type: ignore[type-abstract]
