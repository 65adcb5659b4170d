"""Outcomes: what came of a user and an item after they first met, where a table has one row for the
two.

A training row is the first event of its user and item, in a shop nearly always a click. The events
of other kinds that followed it, a purchase or a rating, stand beside it in the column
`Columns.OUTCOMES`, for models that predict events. Nothing that cases are judged by may be among
them: see `events_before`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import polars as pl

from augrec.data.columns import TIME
from augrec.data.columns import Columns as C

OUTCOMES: Final = pl.List(pl.Struct({C.EVENT: pl.String, C.VALUE: pl.Float32, C.TIMESTAMP: TIME}))
"""Type of the column."""
_PAIR = [C.USER, C.ITEM]


def events_before(events: pl.DataFrame, cut: datetime | None, cases: pl.DataFrame) -> pl.DataFrame:
    """The events that are over when cases are judged.

    Args:
        events: see `augrec.data.clean.first_events`.
        cut: when all cases begin; events at exactly this time are left out.
        cases: where there is no such cut (None), each user's events before the earliest of their
            cases here; who has no case keeps all. The moment a user and an item first meet is the
            split's affair: what happened then is kept, for in data of coarse time it may be the
            moment of the case, too.

    Returns:
        Rows of `events`, in their order.
    """
    met = pl.col(C.TIMESTAMP)
    if cut is not None:
        return events.filter(met < cut)
    begins = cases.group_by(C.USER).agg(begin=pl.col("moment").min())
    over = pl.col("begin").is_null() | (met < pl.col("begin")) | (met == met.min().over(_PAIR))
    return (
        events.join(begins, on=C.USER, how="left", maintain_order="left").filter(over).drop("begin")
    )


def with_outcomes(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The rows with a column of type `OUTCOMES`: the pair's events of other kinds than the row's,
    in order.

    Args:
        rows: canonical interactions.
        events: those that may be known; see `events_before`.
    """
    others = events.join(rows, on=[*_PAIR, C.EVENT], how="anti", maintain_order="left")
    outcome = pl.struct(C.EVENT, C.VALUE, C.TIMESTAMP).alias(C.OUTCOMES)
    lists = others.group_by(_PAIR, maintain_order=True).agg(outcome)
    return rows.join(lists, on=_PAIR, how="left", maintain_order="left")


def outcomes_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The outcomes of all rows: row (Int64, position in `rows`), event, value, timestamp; empty
    without the column."""
    given = (
        rows
        if C.OUTCOMES in rows.columns
        else rows.select(pl.lit(None, OUTCOMES).alias(C.OUTCOMES))
    )
    numbered = given.select(pl.int_range(pl.len()).alias("row"), C.OUTCOMES)
    return numbered.explode(C.OUTCOMES, empty_as_null=False, keep_nulls=False).unnest(C.OUTCOMES)


def last_known(rows: pl.DataFrame) -> pl.Series:
    """The latest moment that each row tells of: its own, or that of its last outcome."""
    if C.OUTCOMES not in rows.columns:
        return rows[C.TIMESTAMP]
    last = pl.col(C.OUTCOMES).list.eval(pl.element().struct.field(C.TIMESTAMP)).list.max()
    return rows.select(pl.max_horizontal(C.TIMESTAMP, last))[C.TIMESTAMP]
