"""Expectations for the prepared splits: nothing from the future, nobody held out among those trained on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.data.cases import CASES
from augrec.data.columns import INTERACTIONS, REAL
from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.errors import InputError
from augrec.validation import reading
from augrec.validation.limits import moment
from augrec.validation.suites import Check, Suite, has_columns, row_count

ROLES: Final = ("valid", "test")
_HELD_OUT: Final = {C.USER: pl.String, "role": pl.String}
_FIX: Final = "run the prepare stage again; if it fails again, the split itself is wrong"


def check(prepared: Path, params: Mapping[str, Any], out: Path) -> None:
    """Hold data/prepared against its suites and write the report to `out`, then refuse what leaks.

    Args:
        prepared: the directory that the prepare stage wrote.
        params: the whole of params.yaml; `prepare.split` is read.
        out: gets the same layout as reports/validation.

    Raises:
        InputError: a file is missing or not what it must be.
        RefusedError: an expectation does not hold; the report is on disk then.
    """
    from augrec.validation import report  # Great Expectations takes seconds to import

    suites, last = split_suites(prepared, params)
    tables = {s.name: {"rows": len(s.table), "good": len(s.table), "quarantined": 0} for s in suites}
    outcomes = report.write(out, "Validation of the splits", suites, tables, {}, last)
    report.refuse_failures(outcomes, "the splits were refused", f"{out}/index.html")


def split_suites(prepared: Path, params: Mapping[str, Any]) -> tuple[list[Suite], datetime]:
    """The suites for train, held_out, cases_valid and cases_test, and the moment of the test cut."""
    cuts = _cuts(prepared / "split.json")
    interactions = reading.read(prepared / "interactions.parquet", INTERACTIONS)
    train = reading.read(prepared / "train.parquet", INTERACTIONS)
    held_out = reading.read(prepared / "held_out.parquet", _HELD_OUT)
    known = _first_meetings(interactions)
    begin = dict(zip(ROLES, cuts, strict=True))
    end = {"valid": cuts[1], "test": None}
    settings = (params.get("prepare") or {}).get("split") or {}
    suites = [_train_suite(train, held_out, known, cuts[0]), _held_out_suite(held_out, known)]
    for role in ROLES:
        cases = reading.read(prepared / f"cases_{role}.parquet", CASES)
        facts = case_facts(cases, held_out, known, begin[role], end[role])
        suites.append(_cases_suite(role, facts, begin[role], end[role], settings))
    return suites, cuts[1]


def case_facts(
    cases: pl.DataFrame, held_out: pl.DataFrame, known: pl.DataFrame, begin: datetime, end: datetime | None
) -> pl.DataFrame:
    """For each case what can be expected of it, one scalar a column.

    Args:
        cases: schema `CASES`.
        held_out: user_id, role.
        known: user_id, item_id, timestamp: when each user met each item first.
        begin: start of the period.
        end: its end, outside; None: open.

    Returns:
        user_id, slice, moment, n_history, n_targets, role of the user (null: not held out), and numbers that must be 0:
        unknown_history: items the user never met;
        late_history: items met after the moment; at the begin of the period, also those met in that very instant;
        misplaced_targets: items the user never met, or met before the moment, or at or after the end;
        repeated_targets: targets that are in the history.
    """
    numbered = cases.with_row_index("case")
    history, targets = (
        numbered.select("case", C.USER, "moment", pl.col(name).alias(C.ITEM))
        .explode(C.ITEM)
        .drop_nulls(C.ITEM)
        .join(known, on=[C.USER, C.ITEM], how="left")
        for name in ("history", "targets")
    )
    met, moment_ = pl.col(C.TIMESTAMP), pl.col("moment")
    wrong_end = (met >= end) if end is not None else pl.lit(False)
    counted = [
        _count(history, met.is_null(), "unknown_history"),
        _count(history, (met > moment_) | ((moment_ <= begin) & (met >= begin)), "late_history"),
        _count(targets, met.is_null() | (met < moment_) | wrong_end, "misplaced_targets"),
        _count(targets.join(history, on=["case", C.ITEM], how="semi"), pl.lit(True), "repeated_targets"),
    ]
    facts = numbered.select(
        "case",
        C.USER,
        "slice",
        "moment",
        n_history=pl.col("history").list.len().cast(pl.Int64),
        n_targets=pl.col("targets").list.len().cast(pl.Int64),
    ).join(held_out.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left")
    for table in counted:
        facts = facts.join(table, on="case", how="left", maintain_order="left")
    return facts.drop("case").with_columns(pl.selectors.unsigned_integer().fill_null(0).cast(pl.Int64))


def _count(rows: pl.DataFrame, condition: pl.Expr, name: str) -> pl.DataFrame:
    return rows.group_by("case").agg(condition.fill_null(False).sum().alias(name))


def _first_meetings(interactions: pl.DataFrame) -> pl.DataFrame:
    return interactions.group_by(C.USER, C.ITEM).agg(pl.col(C.TIMESTAMP).min())


def _train_suite(
    train: pl.DataFrame, held_out: pl.DataFrame, known: pl.DataFrame, valid_from: datetime
) -> Suite:
    users = held_out.select(C.USER).unique().with_columns(pl.lit(True).alias("held_out"))
    meetings = known.select(C.USER, C.ITEM, pl.lit(True).alias("known"))
    table = (
        train.join(users, on=C.USER, how="left", maintain_order="left")
        .join(meetings, on=[C.USER, C.ITEM], how="left", maintain_order="left")
        .with_columns(pl.col("held_out", "known").fill_null(False))
    )
    checks = [
        _count_of_rows("training interactions"),
        has_columns(list(INTERACTIONS)),
        *(_present(column) for column in (C.USER, C.ITEM, C.TIMESTAMP)),
        _critical(
            f"no row from the future: all lie before {valid_from:%Y-%m-%d %H:%M:%S} UTC, where validation begins",
            "ExpectColumnValuesToBeBetween",
            column=C.TIMESTAMP,
            max_value=valid_from,
            strict_max=True,
        ),
        _in_set("held_out", [False], "no row of a held-out user"),
        _in_set("known", [True], "every row is one of the prepared interactions"),
        _in_set(C.ORIGIN, [REAL], "every row is real"),
    ]
    return Suite("train", "training interactions", table, checks)


def _held_out_suite(held_out: pl.DataFrame, known: pl.DataFrame) -> Suite:
    users = known.select(C.USER).unique().with_columns(pl.lit(True).alias("known"))
    table = held_out.join(users, on=C.USER, how="left", maintain_order="left").with_columns(
        pl.col("known").fill_null(False)
    )
    checks = [
        _count_of_rows("held-out users"),
        _present(C.USER),
        _critical("a user has one role", "ExpectColumnValuesToBeUnique", column=C.USER),
        _present("role"),
        _in_set("role", list(ROLES), "roles are valid and test"),
        _in_set("known", [True], "every held-out user has interactions"),
    ]
    return Suite("held_out", "held-out users and their roles", table, checks)


def _cases_suite(
    role: str, facts: pl.DataFrame, begin: datetime, end: datetime | None, settings: Mapping[str, Any]
) -> Suite:
    period = {"min_value": begin} | ({"max_value": end, "strict_max": True} if end is not None else {})
    least, most = settings.get("min_targets", 1), settings.get("max_history")
    checks = [
        _count_of_rows(f"{role} cases"),
        _present("role"),
        _in_set("role", [role], f"every user is held out for {role}"),
        _in_set("slice", list(SLICES), f"slices are {', '.join(SLICES)}"),
        _critical(
            "a user is judged once in a slice",
            "ExpectCompoundColumnsToBeUnique",
            column_list=[C.USER, "slice"],
        ),
        _present("moment"),
        _critical(
            f"moments lie in the {role} period", "ExpectColumnValuesToBeBetween", column="moment", **period
        ),
        _critical(
            f"at least {least} targets", "ExpectColumnValuesToBeBetween", column="n_targets", min_value=least
        ),
        _zero("unknown_history", "histories hold only items that the user met"),
        _zero("late_history", "histories hold nothing from after the moment"),
        _zero("repeated_targets", "no target is in the history"),
        _zero("misplaced_targets", "targets were met after the moment and inside the period"),
    ]
    if most is not None:
        checks.append(
            _critical(
                f"at most {most} items in a history",
                "ExpectColumnValuesToBeBetween",
                column="n_history",
                max_value=most,
            )
        )
    return Suite(f"cases_{role}", f"cases of {role} users", facts, checks)


def _critical(claim: str, expectation: str, **arguments: Any) -> Check:
    return Check(claim, expectation, arguments, critical=True, fix=_FIX)


def _count_of_rows(words: str) -> Check:
    return row_count(1, f"there are {words}", fix=_FIX)


def _present(column: str) -> Check:
    return _critical(f"{column} is known", "ExpectColumnValuesToNotBeNull", column=column)


def _in_set(column: str, values: list[Any], claim: str) -> Check:
    return _critical(claim, "ExpectColumnValuesToBeInSet", column=column, value_set=values)


def _zero(column: str, claim: str) -> Check:
    return _critical(claim, "ExpectColumnValuesToBeBetween", column=column, min_value=0, max_value=0)


def _cuts(path: Path) -> tuple[datetime, datetime]:
    split = reading.read_json(path)
    try:
        return moment(split["valid_from"]), moment(split["test_from"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"valid_from or test_from is missing or not a time ({error})",
            where=str(path),
            fix="run the prepare stage again",
        ) from error
