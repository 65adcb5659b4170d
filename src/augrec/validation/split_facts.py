"""What can be counted of each case: numbers that must be 0 where nothing leaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from augrec.data.columns import Columns as C

_PAIR = [C.USER, C.ITEM]


@dataclass(frozen=True)
class Seen:
    """What cases are held against.

    Attributes:
        known: user_id, item_id, timestamp: when each user met each item first.
        train: training interactions.
        held_out: user_id, role.
        validation: for test cases the validation cases, otherwise None.
    """

    known: pl.DataFrame
    train: pl.DataFrame
    held_out: pl.DataFrame
    validation: pl.DataFrame | None


def case_facts(
    cases: pl.DataFrame, seen: Seen, begin: datetime | None, end: datetime | None
) -> pl.DataFrame:
    """For each case what can be expected of it, one scalar a column.

    Args:
        cases: schema `CASES`.
        seen: everything else.
        begin: start of the period; None: there is none.
        end: its end, outside; None: open.

    Returns:
        user_id, slice, moment, n_history, n_targets, role of the user (null: not held out), and
        counts: unknown_history, unknown_targets: items the user never met;
        late_history: items met after the moment; at the begin of the period, also those met in that
            very instant;
        misplaced_targets: items met before the moment, or at or after the end;
        repeated_targets: targets that are in the history;
        trained_targets: targets in the user's training rows; known_targets: in anybody's;
        late_training: training rows of the user after the moment;
        validated_targets: targets that are in a validation case of the user.
    """
    numbered = cases.with_row_index("case")
    history, targets = (_met(numbered, name, seen.known) for name in ("history", "targets"))
    met, moment = pl.col(C.TIMESTAMP), pl.col("moment")
    at_begin = (moment <= begin) & (met >= begin) if begin is not None else pl.lit(False)
    wrong_end = (met >= end) if end is not None else pl.lit(False)
    rows = numbered.select("case", C.USER, "moment").join(
        seen.train.select(C.USER, C.TIMESTAMP), on=C.USER
    )
    counted = [
        _count(history, met.is_null(), "unknown_history"),
        _count(targets, met.is_null(), "unknown_targets"),
        _count(history, (met > moment) | at_begin, "late_history"),
        _count(targets, (met < moment) | wrong_end, "misplaced_targets"),
        _count(
            targets.join(history, on=["case", C.ITEM], how="semi"), pl.lit(True), "repeated_targets"
        ),
        _count(targets.join(seen.train, on=_PAIR, how="semi"), pl.lit(True), "trained_targets"),
        _count(targets.join(seen.train, on=C.ITEM, how="semi"), pl.lit(True), "known_targets"),
        _count(rows, met > moment, "late_training"),
    ]
    if seen.validation is not None:
        shown = pl.concat(
            seen.validation.select(C.USER, pl.col(name).alias(C.ITEM)).explode(C.ITEM)
            for name in ("history", "targets")
        )
        counted.append(
            _count(targets.join(shown, on=_PAIR, how="semi"), pl.lit(True), "validated_targets")
        )
    facts = numbered.select(
        "case",
        C.USER,
        "slice",
        "moment",
        n_history=pl.col("history").list.len().cast(pl.Int64),
        n_targets=pl.col("targets").list.len().cast(pl.Int64),
    ).join(seen.held_out.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left")
    for table in counted:
        facts = facts.join(table, on="case", how="left", maintain_order="left")
    return facts.drop("case").with_columns(
        pl.selectors.unsigned_integer().fill_null(0).cast(pl.Int64)
    )


def _met(numbered: pl.DataFrame, name: str, known: pl.DataFrame) -> pl.DataFrame:
    """One row for each case and item of a list, with the time the user met it."""
    return (
        numbered.select("case", C.USER, "moment", pl.col(name).alias(C.ITEM))
        .explode(C.ITEM)
        .drop_nulls(C.ITEM)
        .join(known, on=_PAIR, how="left")
    )


def _count(rows: pl.DataFrame, condition: pl.Expr, name: str) -> pl.DataFrame:
    return rows.group_by("case").agg(condition.fill_null(False).sum().alias(name))
