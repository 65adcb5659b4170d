"""Placebo: children of several random real users."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, copy_users, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C


class CrossoverConfig(BaseConfig):
    """Config of the crossover."""

    ratio: float = Field(1.0, ge=0.0)
    """Children for each real user."""
    parents: int = Field(2, ge=2)
    """Different users that each child takes items from; where there are fewer, all of them."""
    share: float | None = Field(None, gt=0.0, le=1.0)
    """Of each parent's items; null: 1 / parents, a child as long as its parents are on average; 1:
    their histories merged."""


class Crossover(Operation):
    """Adds users with a random part of the items of each of several users; duplicate items once."""

    Config = CrossoverConfig
    kind = "placebo"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the children."""
        random = rng(self.seed, "users")
        n_real = inputs.real[C.USER].n_unique()
        n = users_to_add(self.config.ratio, training, inputs)
        parents = min(self.config.parents, n_real)
        chosen = [random.integers(0, n_real, n)]
        # equal steps around the circle of users reach no user twice
        step = random.integers(1, max(1, (n_real - 1) // max(parents - 1, 1)) + 1, n)
        chosen += [(chosen[0] + number * step) % n_real for number in range(1, parents)]
        share = self.config.share or 1 / self.config.parents
        # the first parent's part is rounded up, so that no child is without items
        parts = [
            _part(copy_users(inputs.real, who), share, random, np.floor if number else np.ceil)
            for number, who in enumerate(chosen)
        ]
        children = pl.concat(parts).unique([NUMBER, C.ITEM], keep="first", maintain_order=True)
        return append_users(
            training, children.sort(NUMBER, C.TIMESTAMP, maintain_order=True), self.name()
        )


def _part(
    rows: pl.DataFrame, share: float, random: np.random.Generator, rounding: np.ufunc
) -> pl.DataFrame:
    """A random share of each user's rows, order kept."""
    place = pl.Series(random.permutation(len(rows)))
    counts = rows.select(pl.len().over(NUMBER)).to_series()
    part = pl.Series(rounding(counts.to_numpy() * share))
    ranks = (
        rows.select(place.alias("place"), NUMBER)
        .select(pl.col("place").rank("ordinal").over(NUMBER))
        .to_series()
    )
    return rows.filter(ranks <= part)
