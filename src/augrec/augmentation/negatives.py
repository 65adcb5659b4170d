"""Placebo: popular items without an interaction of the user, as negatives for pairwise
recommenders."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import append_rows
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.popularity_sampling import draw_distinct
from augrec.data.row_details import RowDetails


class NegativesConfig(BaseConfig):
    """The number of items, and how they are drawn."""

    items: int = Field(20, ge=0)
    """At most this many for each real user."""
    power: float = Field(1.0, ge=0.0)
    """Items are drawn in proportion to popularity to this power: the user has most likely seen
    popular items."""


class Negatives(Operation):
    """Named negatives: rows with `negative` True, of popular items that the user has not interacted
    with.

    Recommenders that train on named negatives (bpr) draw part of their negatives from them; all
    others ignore these rows. They have the time of the user's last real row.
    """

    Config = NegativesConfig
    kind = "placebo"

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the rows."""
        real, random = inputs.real, rng(self.seed, "items")
        last = real.group_by(C.USER).agg(pl.col(C.TIMESTAMP).max()).sort(C.USER)
        items = ItemIndex(real[C.ITEM])
        popularity = np.bincount(items.encode(real[C.ITEM]), minlength=len(items)).astype(
            np.float64
        )
        many = min(self.config.items, len(items))
        drawn = draw_distinct(np.full(len(last), many), popularity**self.config.power, random)
        details = RowDetails.of(real, items).draw(drawn, np.ones(len(drawn), np.int64), random)
        rows = (
            last[np.repeat(np.arange(len(last)), many)]
            .with_columns(
                pl.Series(C.ITEM, items.decode(drawn).tolist(), dtype=pl.String),
                details[C.EVENT],
                details[C.VALUE],
                pl.lit(self.name()).alias(C.ORIGIN),
                pl.lit(1.0).alias(C.WEIGHT),
            )
            .join(
                training.select(C.USER, C.ITEM),
                on=[C.USER, C.ITEM],
                how="anti",
                maintain_order="left",
            )
        )
        return append_rows(training, rows.with_columns(pl.lit(True).alias(C.NEGATIVE)))
