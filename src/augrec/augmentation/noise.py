"""Placebo: real users with some items dropped and others put in their place."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, copy_users, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex


class NoiseConfig(BaseConfig):
    """Config of the noise."""

    ratio: float = Field(1.0, ge=0.0)
    """Noisy copies for each real user."""
    drop: float = Field(0.2, ge=0.0, lt=1.0)
    """Chance that a row is left out; a user's last row never is."""
    replace: float = Field(0.1, ge=0.0, le=1.0)
    """Chance that a row gets another item, drawn by popularity; the event, value and time stay."""


class Noise(Operation):
    """Adds copies of users drawn with replacement whose rows are dropped and replaced at random."""

    Config = NoiseConfig
    kind = "placebo"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the copies."""
        config, real, random = self.config, inputs.real, rng(self.seed, "users")
        n = users_to_add(config.ratio, training, inputs)
        rows = copy_users(real, random.integers(0, real[C.USER].n_unique(), n))
        items = ItemIndex(real[C.ITEM])
        popularity = np.cumsum(np.bincount(items.encode(real[C.ITEM]), minlength=len(items)))
        drawn = np.searchsorted(popularity, random.random(len(rows)) * popularity[-1], side="right")
        other = random.random(len(rows)) < config.replace
        last = rows.select(
            pl.int_range(pl.len()).over(NUMBER) == pl.len().over(NUMBER) - 1
        ).to_series()
        kept = last | pl.Series(random.random(len(rows)) >= config.drop)
        noisy = rows.with_columns(
            pl.when(pl.Series(other))
            .then(pl.Series(items.decode(drawn)))
            .otherwise(C.ITEM)
            .alias(C.ITEM)
        ).filter(kept)
        return append_users(
            training, noisy.unique([NUMBER, C.ITEM], keep="first", maintain_order=True), self.name()
        )
