"""Placebo: children of two random real users."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, copy_users, users_to_add
from augrec.augmentation.base import Ingredients, Operation
from augrec.component import ComponentConfig
from augrec.data.columns import Columns as C
from augrec.seeds import rng


class CrossoverConfig(ComponentConfig):
    """Knobs of the crossover."""

    ratio: float = Field(1.0, ge=0.0)
    """Children for each real user."""


class Crossover(Operation):
    """Adds users with a random half of the items of one user and a random half of another's; items met twice once."""

    Config = CrossoverConfig
    kind = "placebo"

    def apply(self, training: pl.DataFrame, ingredients: Ingredients) -> pl.DataFrame:
        """Append the children."""
        random = rng(self.seed, "users")
        n_real = ingredients.real[C.USER].n_unique()
        n = users_to_add(self.config.ratio, training, ingredients)
        first = random.integers(0, n_real, n)
        # a step of 1 … n_real-1 around the circle of users never meets the same user again
        second = (first + random.integers(1, max(n_real, 2), n)) % n_real
        parents = [copy_users(ingredients.real, chosen) for chosen in (first, second)]
        # the first parent's half is rounded up, so that nobody is born without items
        halves = [
            _half(rows, random, rounding) for rows, rounding in zip(parents, (np.ceil, np.floor), strict=True)
        ]
        children = pl.concat(halves).unique([NUMBER, C.ITEM], keep="first", maintain_order=True)
        return append_users(training, children.sort(NUMBER, C.TIMESTAMP, maintain_order=True), self.name())


def _half(rows: pl.DataFrame, random: np.random.Generator, rounding: np.ufunc) -> pl.DataFrame:
    """A random half of each user's rows, order kept."""
    place = pl.Series(random.permutation(len(rows)))
    counts = rows.select(pl.len().over(NUMBER)).to_series()
    half = pl.Series(rounding(counts.to_numpy() / 2))
    ranks = (
        rows.select(place.alias("place"), NUMBER)
        .select(pl.col("place").rank("ordinal").over(NUMBER))
        .to_series()
    )
    return rows.filter(ranks <= half)
