"""Real users cut into pieces: sub-sequences of their histories, each as a user of its own."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from augrec.augmentation._users import NUMBER, append_users, copy_users, each_in_turn, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C


class SplitConfig(BaseConfig):
    """Config of the splitting."""

    ratio: float = Field(1.0, ge=0.0)
    """Pieces for each real user."""
    min_length: int = Field(5, ge=2)
    """Between this many …"""
    max_length: int = Field(20, ge=2)
    """… and this many rows in a piece; shorter histories stay whole."""

    @model_validator(mode="after")
    def _in_order(self) -> SplitConfig:
        if self.min_length > self.max_length:
            raise ValueError("min_length must not be above max_length")
        return self


class Split(Operation):
    """Adds runs of rows that follow one another, as users: short histories that begin anywhere in a
    long one.

    Users with a single row are not used. Each user gives equally many pieces, give or take one.
    """

    Config = SplitConfig
    kind = "real"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the pieces."""
        random = rng(self.seed, "users")
        lengths = inputs.real.group_by(C.USER).len().sort(C.USER)["len"].to_numpy().astype(np.int64)
        chosen = each_in_turn(
            np.nonzero(lengths >= 2)[0],
            users_to_add(self.config.ratio, training, inputs),
            random,
        )
        whole = lengths[chosen]
        piece = random.integers(self.config.min_length, self.config.max_length + 1, len(chosen))
        piece = np.minimum(piece, whole)
        begin = random.integers(0, whole - piece + 1)
        rows = copy_users(inputs.real, chosen)
        place = rows.select(pl.int_range(pl.len()).over(NUMBER)).to_series().to_numpy()
        inside = (place >= np.repeat(begin, whole)) & (place < np.repeat(begin + piece, whole))
        return append_users(training, rows.filter(pl.Series(inside)), self.name())
