"""Placebo: short real histories continued with the items that a simple recommender gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._recommender import trained
from augrec.augmentation._users import append_rows
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.row_details import RowDetails


class ExpandConfig(BaseConfig):
    """Which histories, by which recommender, at what weight."""

    recommender: dict[str, dict[str, Any] | None] = {"item_knn": None}
    """One recommender and its config. It is trained on the real rows; item_knn uses co-occurrence
    of items in histories."""
    max_length: int = Field(20, ge=1)
    """Histories of at most this many distinct items are expanded."""
    items: int = Field(5, ge=0)
    """Items added to each history."""
    weight: float = Field(0.3, ge=0.0)
    """Of an added row where a real one has 1; at 0 nothing is added."""
    observed: bool = False
    """Whether models read the added rows as part of the history, or have them only as further
    targets."""


class Expand(Operation):
    """Positive expansion: rows for real users with few items, of the items that are likeliest to
    come next.

    The rows are made without a generator: they are a placebo, which a generator that extends
    histories must beat. They have the time of the user's last real row.
    """

    Config = ExpandConfig
    kind = "placebo"

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the rows."""
        config, real = self.config, inputs.real
        short = (
            real.sort(C.USER, C.TIMESTAMP, maintain_order=True)
            .group_by(C.USER, maintain_order=True)
            .agg(C.ITEM, pl.col(C.TIMESTAMP).last())
            .filter(pl.col(C.ITEM).list.n_unique() <= config.max_length)
        )
        if short.is_empty() or not config.items or not config.weight:
            return training
        model = trained(config.recommender, inputs, seed=self.seed, where=self.name())
        found, _ = model.recommend(short[C.ITEM], config.items)
        rows = (
            short.select(C.USER, C.TIMESTAMP)
            .with_columns(pl.Series(C.ITEM, found.tolist(), dtype=pl.List(pl.String)))
            .explode(C.ITEM)
            .filter(pl.col(C.ITEM) != "")
            .join(
                training.select(C.USER, C.ITEM),
                on=[C.USER, C.ITEM],
                how="anti",
                maintain_order="left",
            )
        )
        items = ItemIndex(real[C.ITEM])
        details = RowDetails.of(real, items).draw(
            items.encode(rows[C.ITEM]).astype(np.int64),
            np.ones(len(rows), np.int64),
            rng(self.seed, "details"),
        )
        added = rows.with_columns(
            details[C.EVENT],
            details[C.VALUE],
            pl.lit(self.name()).alias(C.ORIGIN),
            pl.lit(config.weight).alias(C.WEIGHT),
        )
        return append_rows(training, added.with_columns(pl.lit(config.observed).alias(C.OBSERVED)))
