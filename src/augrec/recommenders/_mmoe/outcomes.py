"""What came of each training interaction, for the heads that learn to predict it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.outcomes import outcomes_of
from augrec.recommenders._heads import RATING, Head, heads_of

_UNNAMED = "interaction"
"""The event of rows that do not say which they are."""
_PRIOR = 5.0
"""An item's mean rating is shrunk towards that of all items by this number of ratings."""


@dataclass(frozen=True)
class Scale:
    """The values of ratings in training: their mean and deviation, the smallest and the largest."""

    mean: float
    deviation: float
    low: float
    high: float

    def to_values(self, standard: np.ndarray) -> np.ndarray:
        """From standardised to the unit of `value`, within what was seen in training."""
        return np.clip(standard * self.deviation + self.mean, self.low, self.high)


@dataclass(frozen=True)
class Outcomes:
    """n interactions.

    Attributes:
        heads: what there is to predict; see `augrec.recommenders._heads`.
        happened: whether what came of an interaction holds the event of a head of kind
            "probability", and a value for a head of kind "value"; bool (n, heads). A click that
            became a purchase is both.
        values: standardised values of ratings, 0 elsewhere, float32 (n,).
        scale: how they were standardised.
    """

    heads: tuple[Head, ...]
    happened: np.ndarray
    values: np.ndarray
    scale: Scale

    @classmethod
    def of(
        cls, interactions: pl.DataFrame, like: tuple[tuple[Head, ...], Scale] | None = None
    ) -> Outcomes:
        """Read the columns `event`, `value` and `outcomes`, any of which may be missing or null.

        Args:
            interactions: n rows.
            like: the heads and scale to have, those of a model that goes on learning; None: those
                of the rows.

        Raises:
            InputError: an event has none of the heads of `like`.
        """
        table = _events(interactions)
        rows, events = table["row"].to_numpy(), np.asarray(table["event"].to_list(), dtype=object)
        values = table["value"].fill_null(np.nan).to_numpy()
        valued = np.isfinite(values) & (events == RATING)
        kinds = table["event"].unique().sort().to_list()
        heads, scale = like or _heads_and_scale(kinds, values[valued])
        if missing := set(kinds) - {head.event for head in heads}:
            raise InputError(
                f"the fitted model has no head for {', '.join(sorted(missing))}",
                where="training data, previous",
                fix="train in full once",
            )
        happened = np.zeros((len(interactions), len(heads)), np.bool_)
        for place, head in enumerate(heads):
            happened[rows[valued if head.kind == "value" else events == head.event], place] = True
        standard = np.zeros(len(interactions), np.float32)
        standard[rows[valued]] = (values[valued] - scale.mean) / scale.deviation
        return cls(heads, happened, standard, scale)

    def shares(self, weights: np.ndarray) -> np.ndarray:
        """How much of all that came of interactions is about each head: shares of `weights`, (n,);
        float32 (heads,)."""
        return (weights.astype(np.float64) @ self.happened / weights.sum(dtype=np.float64)).astype(
            np.float32
        )

    def start(self, items: np.ndarray, weights: np.ndarray, n_items: int) -> np.ndarray:
        """The best biases where nothing else is known, float32 (n_items, heads).

        For a probability the log-odds of the item among the event's items against one drawn evenly,
        each item counted once more than it was; for a value the item's mean, drawn to that of all.

        Args:
            items: positions, int (n,).
            weights: float (n,).
            n_items: size of the catalogue.
        """
        bias = np.zeros((n_items, len(self.heads)))
        for place, head in enumerate(self.heads):
            counted = weights * self.happened[:, place]
            total = np.bincount(items, counted, minlength=n_items)
            if head.kind == "value":
                bias[:, place] = np.bincount(items, counted * self.values, minlength=n_items) / (
                    total + _PRIOR
                )
            else:
                bias[:, place] = np.log((total + 1) / (total.sum() + n_items) * n_items)
        return bias.astype(np.float32)


def _events(interactions: pl.DataFrame) -> pl.DataFrame:
    """row, event, value (Float64) of every row, then those of the outcomes."""
    nothing = pl.lit(None, pl.String)
    own = interactions.select(
        row=pl.int_range(pl.len()),
        event=(pl.col(C.EVENT) if C.EVENT in interactions.columns else nothing).fill_null(_UNNAMED),
        value=(pl.col(C.VALUE) if C.VALUE in interactions.columns else nothing).cast(pl.Float64),
    )
    further = outcomes_of(interactions).select(
        "row", event=C.EVENT, value=pl.col(C.VALUE).cast(pl.Float64)
    )
    return pl.concat([own, further])


def _heads_and_scale(events: list[str], ratings: np.ndarray) -> tuple[tuple[Head, ...], Scale]:
    if not len(ratings):
        return heads_of(events, rated=False), Scale(0.0, 1.0, 0.0, 0.0)
    numbers = (ratings.mean(), ratings.std() or 1.0, ratings.min(), ratings.max())
    scale = Scale(*(float(number) for number in numbers))
    return heads_of(events, rated=scale.low < scale.high), scale
