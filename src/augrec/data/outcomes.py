"""Outcomes: the later events of a user and an item, in a table with one row for each such pair.

A training row is the first event of its user and item, in a shop nearly always a click. Later
events of other kinds, such as a purchase or a rating, are in its column `Columns.OUTCOMES`, for
models that predict events. They must not contain what cases are evaluated on: see `events_before`.
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
    """The events before the evaluation cases.

    Args:
        events: see `augrec.data.clean.first_events`.
        cut: the time at which all cases begin; events at exactly this time are left out.
        cases: if there is no such cut (None), the events of each user before their earliest case
            here are kept; users without a case keep all events. The first event of each pair is
            always kept: the split decides about it, and if timestamps are coarse, it may have the
            same time as the case.

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
    """Add the column `Columns.OUTCOMES`: the pair's events of other kinds than the row's, in order.

    Args:
        rows: canonical interactions.
        events: the events that training may use; see `events_before`.
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
    """The latest time in each row: its own timestamp, or that of its last outcome."""
    if C.OUTCOMES not in rows.columns:
        return rows[C.TIMESTAMP]
    last = pl.col(C.OUTCOMES).list.eval(pl.element().struct.field(C.TIMESTAMP)).list.max()
    return rows.select(pl.max_horizontal(C.TIMESTAMP, last))[C.TIMESTAMP]
