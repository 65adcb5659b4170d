"""Placebo: users who take popular items at random."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.popularity_sampling import draw_distinct
from augrec.data.row_details import RowDetails, build_interactions


class PopularityRandomConfig(BaseConfig):
    """Config of the popularity-random users."""

    ratio: float = Field(1.0, ge=0.0)
    """Users for each real one."""


class PopularityRandom(Operation):
    """Adds users with the lengths of real profiles and items drawn by popularity: right margins, no
    taste at all."""

    Config = PopularityRandomConfig
    kind = "placebo"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the users."""
        random = rng(self.seed, "users")
        distinct = inputs.real.select(C.USER, C.ITEM).unique()
        real_lengths = (
            distinct.group_by(C.USER).len().sort(C.USER)["len"].to_numpy().astype(np.int64)
        )
        items = ItemIndex(distinct[C.ITEM])
        popularity = np.bincount(items.encode(distinct[C.ITEM]), minlength=len(items)).astype(
            np.float64
        )
        lengths = random.choice(real_lengths, users_to_add(self.config.ratio, training, inputs))
        positions = draw_distinct(lengths, popularity, random)
        details = RowDetails.of(inputs.real, items).draw(positions, lengths, random)
        rows = build_interactions(self.name(), lengths, items.decode(positions), details)
        numbers = pl.Series(NUMBER, np.repeat(np.arange(len(lengths)), lengths))
        return append_users(training, rows.with_columns(numbers), self.name())
