"""Weights rows so that classes balance: events, items, users or times."""

from __future__ import annotations

from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.data.columns import Columns as C

_CLASSES = {"event": C.EVENT, "item": C.ITEM, "user": C.USER}
_DAY_S = 86_400.0


class ReweighConfig(BaseConfig):
    """What is balanced, and how far."""

    by: Literal["event", "item", "user", "recency"] = "event"
    """event: rare kinds of event count more; item: rare items; user: users with few rows; recency:
    late rows."""
    power: float = Field(1.0, ge=0.0)
    """event, item and user only, of the class' number of rows, by which weights are divided: at 1
    all classes weigh alike, at 0 nothing changes."""
    half_life_days: float = Field(30.0, gt=0.0)
    """recency only: a row this much older than the latest one has half its weight."""
    most: float = Field(10.0, ge=1.0)
    """A row's weight is multiplied by this at most."""

    @model_validator(mode="after")
    def _concern_by(self) -> Self:
        other = "power" if self.by == "recency" else "half_life_days"
        if getattr(self, other) != type(self).model_fields[other].default:
            raise ValueError(f"{other} does nothing with by: {self.by}; leave it out")
        return self


class Reweigh(Operation):
    """Class balance without sampling: every row's weight times a factor with a mean of 1 over the
    rows, at most `most`.

    It applies to the rows of earlier operations, synthetic ones included, but not to negatives.
    """

    Config = ReweighConfig
    kind = "real"
    adds_no_real_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """The same rows with other weights."""
        config = self.config
        if config.by == "recency":
            age = (pl.col(C.TIMESTAMP).max() - pl.col(C.TIMESTAMP)).dt.total_seconds() / _DAY_S
            factor = 0.5 ** (age / config.half_life_days)
        else:
            factor = pl.len().over(_CLASSES[config.by]).cast(pl.Float64) ** -config.power
        weight = (pl.col(C.WEIGHT) * (factor / factor.mean()).clip(upper_bound=config.most)).cast(
            pl.Float32
        )
        if C.NEGATIVE not in training.columns:
            return training.with_columns(weight)
        rows = training.with_row_index("place")
        met = rows.filter(~pl.col(C.NEGATIVE)).with_columns(weight)
        return pl.concat([met, rows.filter(C.NEGATIVE)]).sort("place").drop("place")
