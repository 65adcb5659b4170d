"""What generators of whole profiles share: counts of the training data, rows around the drawn
items, storage of both. Needs no torch."""

from __future__ import annotations

import logging
from abc import abstractmethod

import numpy as np
import polars as pl

from augrec.core.seeds import derive, rng
from augrec.data.histories import ItemIndex
from augrec.data.row_details import RowDetails, build_interactions
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions
from augrec.generators._profile.counts import Counts
from augrec.generators.base import Generator

_logger = logging.getLogger(__name__)


class ProfileGenerator(Generator):
    """A generator that draws the items of each user; events, values and times are as usual for the
    items.

    A subclass implements `_fit`, which starts with `_count`, and `_profiles`; it adds what else it
    learns to `_state` and `_restore`.
    """

    items: ItemIndex
    """Every item of the training interactions."""
    details: RowDetails
    """Events, values and times to draw from."""

    def _count(self, data: TrainingData) -> Counts:
        """Count the training data, and keep items, conditions and details."""
        counts = Counts.of(data, getattr(self.config, "max_attribute_values", 32))
        self._keep(counts)
        return counts

    def _keep(self, counts: Counts) -> None:
        self.items, self.conditions, self.details = counts.items, counts.conditions, counts.details
        _logger.info(
            "%d users, %d items, %d entries, condition of width %d",
            *counts.matrix.shape,
            counts.matrix.nnz,
            self.conditions.width,
        )

    @abstractmethod
    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Item positions int64 (nnz,) of one user for each of some rows of `conditions`.

        User after user, each item once in a user, as many as `conditions.lengths` of the row says,
        oldest first.

        Args:
            rows: int64 (n,).
            seed: of the draw.
        """

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._draw_conditions(n, condition, seed)
        positions = self._profiles(rows, derive(seed, "profiles"))
        return self._interactions(positions, self.conditions.lengths[rows], seed)

    def _interactions(self, positions: np.ndarray, lengths: np.ndarray, seed: int) -> pl.DataFrame:
        """Canonical interactions of users with these items, int64 (nnz,) and (n,)."""
        details = self._draw_details(positions, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

    def _draw_details(
        self, positions: np.ndarray, lengths: np.ndarray, random: np.random.Generator
    ) -> pl.DataFrame:
        return self.details.draw(positions, lengths, random)

    def _state(self) -> dict[str, np.ndarray]:
        return {"items": self.items.ids, **self.conditions.state(), **self.details.state()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.items = ItemIndex(state["items"])
        self.conditions = Conditions.from_state(state)
        self.details = RowDetails.from_state(state)
