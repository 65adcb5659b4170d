"""Scores of the generator's own critic."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector, best
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.data.columns import Columns as C


class RealnessConfig(BaseConfig):
    """The share that is kept."""

    keep: float = Field(0.5, gt=0, le=1)
    """Share of the sample, the most real-looking users."""
    power: float = Field(0.0, ge=0)
    """Those kept are drawn in proportion to their rank, the last of the sample 0 and the first 1,
    to this power."""


class Realness(Selector):
    """Keeps the users that the generator's critic scores as most real; `synthesize` writes the
    scores."""

    Config = RealnessConfig

    def values(self, pool: Pool) -> np.ndarray:
        """(rank of the score)^power for those kept, else 0.

        Raises:
            ConfigError: the sample comes without realness: its maker has no critic.
        """
        table = pool.sample_table("realness")
        if table is None:
            raise ConfigError(
                f"the sample of {pool.name} has no critic scores",
                where="params.yaml, selector realness",
                fix="use `discriminator`, which works for any sample, or a generator with a critic",
            )
        found = pool.users.to_frame().join(
            table.unique(C.USER), on=C.USER, how="left", maintain_order="left"
        )
        scores = (
            found.select(pl.col("realness").cast(pl.Float64).fill_null(-np.inf))
            .to_series()
            .to_numpy()
        )
        ranks = (np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1.0) / len(scores)
        return best(scores, self.config.keep) * ranks**self.config.power
