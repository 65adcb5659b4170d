"""The most popular items, for everybody the same: the floor that every model must clear."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.component import ComponentConfig
from augrec.data.columns import TIME, require
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.recommenders.base import Log, Recommender

_DAY_US = 86_400_000_000


class PopularityConfig(ComponentConfig):
    """What is popular, and for how long."""

    half_life_days: float | None = Field(None, gt=0)
    """An interaction counts half as much for each so many days before the newest one; null: all count the same."""


class Popularity(Recommender):
    """Scores an item by the weight of its interactions, recent ones first if a half-life is set.

    With a half-life h the interaction at time t counts weight × 2^(-(t_newest - t) / h).
    """

    Config = PopularityConfig

    def _importance(self, interactions: pl.DataFrame) -> np.ndarray:
        weights = super()._importance(interactions)
        if self.config.half_life_days is None:
            return weights
        require(interactions, {C.TIMESTAMP: TIME}, where="training interactions, for half_life_days")
        times = interactions[C.TIMESTAMP].dt.epoch("us").to_numpy()
        return weights * np.exp2((times - times.max()) / (_DAY_US * self.config.half_life_days))

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        """Nothing is left to learn: `fit` has weighed the items with `_importance`."""

    def _scores(self, histories: Histories) -> np.ndarray:
        return np.tile(self.popularity, (len(histories), 1))

    def _model_state(self) -> dict[str, np.ndarray]:
        return {}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        """`popularity` is kept by the base class."""
