"""Users of rare kinds of event."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector
from augrec.core.config import BaseConfig
from augrec.data.columns import Columns as C


class EventsConfig(BaseConfig):
    """How far classes are evened out."""

    power: float = Field(1.0, ge=0)
    """A row counts 1 / (its event's share of the real rows) to this power; 1: all events alike."""


class Events(Selector):
    """By the mean over a user's rows of what their events count: users with purchases where most
    rows are views."""

    Config = EventsConfig

    def values(self, pool: Pool) -> np.ndarray:
        """Mean of share^-power; an event that no real row has counts as one row would."""
        counts = (
            pool.real[C.EVENT]
            .value_counts(name="n")
            .with_columns(worth=(pl.col("n") / len(pool.real)) ** -self.config.power)
        )
        rows = pool.rows.select(C.USER, C.EVENT).join(counts, on=C.EVENT, how="left")
        worth = pl.col("worth").fill_null(float(len(pool.real)) ** self.config.power)
        return rows.group_by(C.USER).agg(worth.mean()).sort(C.USER)["worth"].to_numpy()
