"""Counts for each case of a split that must be 0 unless something leaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from augrec.data.columns import Columns as C

_PAIR = [C.USER, C.ITEM]


@dataclass(frozen=True)
class SplitTables:
    """The other tables of the split, which cases are compared with.

    Attributes:
        first_seen: user_id, item_id, timestamp of the user's first interaction with the item.
        train: training interactions.
        held_out: user_id, role.
        validation: the validation cases, if test cases are checked; otherwise None.
    """

    first_seen: pl.DataFrame
    train: pl.DataFrame
    held_out: pl.DataFrame
    validation: pl.DataFrame | None


def case_facts(cases: pl.DataFrame, split: SplitTables, end: datetime | None) -> pl.DataFrame:
    """One row of checkable numbers for each case.

    Args:
        cases: schema `CASES`.
        split: the other tables.
        end: end of the period, exclusive; None: unbounded.

    Returns:
        user_id, slice, moment, n_history, n_targets, role of the user (null: not held out), and
        these counts:
        unknown_history, unknown_targets: items without an interaction of the user;
        late_history: items first seen after the moment;
        misplaced_targets: items first seen before the moment, or at or after `end`;
        cut_instants: targets first seen at the same time as an item of the history;
        repeated_targets: targets that are in the history;
        trained_targets: targets in the user's training rows;
        known_targets: targets in the training rows of any user;
        late_training: training rows of the user after the moment;
        validated_targets: targets that are in a validation case of the user.
    """
    numbered = cases.with_row_index("case")
    history, targets = (
        _with_first_seen(numbered, name, split.first_seen) for name in ("history", "targets")
    )
    seen_at, moment = pl.col(C.TIMESTAMP), pl.col("moment")
    wrong_end = (seen_at >= end) if end is not None else pl.lit(False)
    rows = numbered.select("case", C.USER, "moment").join(
        split.train.select(C.USER, C.TIMESTAMP), on=C.USER
    )
    counted = [
        _count(history, seen_at.is_null(), "unknown_history"),
        _count(targets, seen_at.is_null(), "unknown_targets"),
        _count(history, seen_at > moment, "late_history"),
        _count(targets, (seen_at < moment) | wrong_end, "misplaced_targets"),
        *(
            _count(targets.join(history, on=["case", shared], how="semi"), pl.lit(True), name)
            for shared, name in ((C.ITEM, "repeated_targets"), (C.TIMESTAMP, "cut_instants"))
        ),
        _count(targets.join(split.train, on=_PAIR, how="semi"), pl.lit(True), "trained_targets"),
        _count(targets.join(split.train, on=C.ITEM, how="semi"), pl.lit(True), "known_targets"),
        _count(rows, seen_at > moment, "late_training"),
    ]
    if split.validation is not None:
        shown = pl.concat(
            split.validation.select(C.USER, pl.col(name).alias(C.ITEM)).explode(C.ITEM)
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
    ).join(
        split.held_out.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left"
    )
    for table in counted:
        facts = facts.join(table, on="case", how="left", maintain_order="left")
    return facts.drop("case").with_columns(
        pl.selectors.unsigned_integer().fill_null(0).cast(pl.Int64)
    )


def _with_first_seen(numbered: pl.DataFrame, name: str, first_seen: pl.DataFrame) -> pl.DataFrame:
    """One row for each case and item of a list, with the user's first interaction with it."""
    return (
        numbered.select("case", C.USER, "moment", pl.col(name).alias(C.ITEM))
        .explode(C.ITEM)
        .drop_nulls(C.ITEM)
        .join(first_seen, on=_PAIR, how="left")
    )


def _count(rows: pl.DataFrame, condition: pl.Expr, name: str) -> pl.DataFrame:
    return rows.group_by("case").agg(condition.fill_null(False).sum().alias(name))
