"""Expectations for the prepared splits: nothing leaks that the protocol does not allow.

They follow from the protocol's rules (`augrec.data.protocols.base.Rules`), not from what the split
records about itself:

* always: training rows are real and among the prepared ones; histories and targets are items the
  user interacted with; no target is in the history, in the user's training rows, or (for test) in a
  validation case of the user; no target shares its timestamp with an item of the history; a user
  has one case in a slice.
* order "global": training rows lie before valid_from, moments in their period, histories up to the
  moment, targets from the moment on and inside the period.
* order "user": histories lie before the moment, targets from the moment on; no training row of the
  user is later.
* order "none": no expectation on time.
* users_held_out: users of cases are held out for that role and have no training rows; without it
  no user is held out.
* new_items: no target is in any training row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.config import parse
from augrec.core.errors import InputError
from augrec.data.cases import CASES
from augrec.data.columns import INTERACTIONS, REAL
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.instants import in_words
from augrec.data.protocols.base import Rules, protocol_of
from augrec.data.slices import SLICES
from augrec.validation import reading
from augrec.validation.config import parse_time
from augrec.validation.split_facts import SplitTables, case_facts
from augrec.validation.suites import Check, Suite, has_columns, row_count

ROLES: Final = ("valid", "test")
_HELD_OUT: Final = {C.USER: pl.String, "role": pl.String}
_FIX: Final = (
    "your data is not at fault: data/prepared is not what prepare.split.protocol promises. Run the "
    "prepare stage again if its files were changed; otherwise report this message as a fault of "
    "the protocol, and use another one meanwhile"
)


@dataclass(frozen=True)
class _Period:
    """The period of a role's cases; None: unbounded."""

    begin: datetime | None
    end: datetime | None

    @property
    def limited(self) -> bool:
        """Whether the protocol cuts time at the same moment for all users."""
        return self.begin is not None


def check(prepared: Path, params: Mapping[str, Any], out: Path) -> None:
    """Run the suites on data/prepared, write the report to `out`, and raise if something leaks.

    Args:
        prepared: the directory that the prepare stage wrote.
        params: params.yaml; `prepare.split` is read.
        out: directory of the report, with the layout of reports/validation.

    Raises:
        InputError: a file is missing or invalid.
        RefusedError: an expectation failed; the report has been written.
    """
    from augrec.validation import report  # Great Expectations takes seconds to import

    suites, last = split_suites(prepared, params)
    tables = {
        s.name: {"rows": len(s.table), "good": len(s.table), "quarantined": 0} for s in suites
    }
    counts = reading.read_json(prepared / "split.json")["counts"]
    note = in_words(counts["times"], counts["all"]["interactions"])
    outcomes = report.write(out, "Validation of the splits", suites, tables, {}, last, note=note)
    report.refuse_failures(outcomes, "the splits were refused", f"{out}/index.html")


def split_suites(prepared: Path, params: Mapping[str, Any]) -> tuple[list[Suite], datetime]:
    """The suites for train, held_out, cases_valid and cases_test, and the time of the last
    interaction."""
    config = parse(SplitConfig, (params.get("prepare") or {}).get("split") or {}, "prepare.split")
    rules = protocol_of(config, 0).rules
    periods = _periods(prepared / "split.json", rules)
    interactions = reading.read(prepared / "interactions.parquet", INTERACTIONS)
    train = reading.read(prepared / "train.parquet", INTERACTIONS)
    held_out = reading.read(prepared / "held_out.parquet", _HELD_OUT)
    first_seen = interactions.group_by(C.USER, C.ITEM).agg(pl.col(C.TIMESTAMP).min())
    cases = {role: reading.read(prepared / f"cases_{role}.parquet", CASES) for role in ROLES}
    suites = [
        _train_suite(train, held_out, first_seen, periods["valid"].begin),
        _held_out_suite(held_out, first_seen, rules),
    ]
    for role in ROLES:
        split = SplitTables(first_seen, train, held_out, cases["valid"] if role == "test" else None)
        facts = case_facts(cases[role], split, periods[role].end)
        suites.append(_cases_suite(role, facts, periods[role], rules, config))
    return suites, interactions[C.TIMESTAMP].max() or datetime.fromtimestamp(0, UTC)  # type: ignore[return-value]


def _train_suite(
    train: pl.DataFrame,
    held_out: pl.DataFrame,
    first_seen: pl.DataFrame,
    valid_from: datetime | None,
) -> Suite:
    users = held_out.select(C.USER).unique().with_columns(pl.lit(True).alias("held_out"))
    pairs = first_seen.select(C.USER, C.ITEM, pl.lit(True).alias("known"))
    table = (
        train.join(users, on=C.USER, how="left", maintain_order="left")
        .join(pairs, on=[C.USER, C.ITEM], how="left", maintain_order="left")
        .with_columns(pl.col("held_out", "known").fill_null(False))
    )
    checks = [
        _count_of_rows("training interactions"),
        has_columns(list(INTERACTIONS)),
        *(_present(column) for column in (C.USER, C.ITEM, C.TIMESTAMP)),
        _in_set("held_out", [False], "no row of a held-out user"),
        _in_set("known", [True], "every row is one of the prepared interactions"),
        _in_set(C.ORIGIN, [REAL], "every row is real"),
    ]
    if valid_from is not None:
        checks.append(
            _critical(
                f"every row is before {valid_from:%Y-%m-%d %H:%M:%S} UTC, the start of validation",
                "ExpectColumnValuesToBeBetween",
                column=C.TIMESTAMP,
                max_value=valid_from,
                strict_max=True,
            )
        )
    return Suite("train", "training interactions", table, checks, C.USER)


def _held_out_suite(held_out: pl.DataFrame, first_seen: pl.DataFrame, rules: Rules) -> Suite:
    users = first_seen.select(C.USER).unique().with_columns(pl.lit(True).alias("known"))
    table = held_out.join(users, on=C.USER, how="left", maintain_order="left").with_columns(
        pl.col("known").fill_null(False)
    )
    if not rules.users_held_out:
        no_rows = _critical(
            "no user is held out", "ExpectTableRowCountToBeBetween", min_value=0, max_value=0
        )
        return Suite("held_out", "held-out users and their roles", table, [no_rows])
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
    role: str, facts: pl.DataFrame, period: _Period, rules: Rules, config: SplitConfig
) -> Suite:
    least, most = config.min_targets, config.max_history
    checks = [
        _count_of_rows(f"{role} cases"),
        _in_set("slice", list(SLICES), f"slices are {', '.join(SLICES)}"),
        _critical(
            "a user has one case in a slice",
            "ExpectCompoundColumnsToBeUnique",
            column_list=[C.USER, "slice"],
        ),
        _present("moment"),
        _between("n_targets", f"at least {least} targets", min_value=least),
        _between("n_history", f"at most {most} items in a history", max_value=most),
        _zero("unknown_history", "every item of a history is in an interaction of the user"),
        _zero("unknown_targets", "every target is in an interaction of the user"),
        _zero("repeated_targets", "no target is in the history"),
        _zero("cut_instants", "no target shares its timestamp with an item of the history"),
        _zero("trained_targets", "no target is in the user's training rows"),
    ]
    if role == "test":
        checks.append(_zero("validated_targets", "no target is in a validation case of the user"))
    if rules.users_held_out:
        checks += [_present("role"), _in_set("role", [role], f"every user is held out for {role}")]
    if rules.order != "none":
        targets = "targets are after the moment" + " and inside the period" * period.limited
        checks += [
            _zero("late_history", "no item of a history is after the moment"),
            _zero("misplaced_targets", targets),
            _zero("late_training", "no training row of the user is after the moment"),
        ]
    if period.limited:
        end = {} if period.end is None else {"max_value": period.end, "strict_max": True}
        checks.append(
            _between("moment", f"moments lie in the {role} period", min_value=period.begin, **end)
        )
    if rules.new_items:
        checks.append(_zero("known_targets", "no target is in a training row"))
    return Suite(f"cases_{role}", f"cases of {role} users", facts, checks, C.USER)


def _critical(claim: str, expectation: str, **arguments: Any) -> Check:
    return Check(claim, expectation, arguments, critical=True, fix=_FIX)


def _count_of_rows(rows: str) -> Check:
    return row_count(1, f"there are {rows}", fix=_FIX)


def _present(column: str) -> Check:
    return _critical(f"{column} is not missing", "ExpectColumnValuesToNotBeNull", column=column)


def _in_set(column: str, values: list[Any], claim: str) -> Check:
    return _critical(claim, "ExpectColumnValuesToBeInSet", column=column, value_set=values)


def _between(column: str, claim: str, **limits: Any) -> Check:
    return _critical(claim, "ExpectColumnValuesToBeBetween", column=column, **limits)


def _zero(column: str, claim: str) -> Check:
    return _between(column, claim, min_value=0, max_value=0)


def _periods(path: Path, rules: Rules) -> dict[str, _Period]:
    """{role: its period}, read from split.json if the protocol has periods."""
    split = reading.read_json(path)
    if rules.order != "global":
        return dict.fromkeys(ROLES, _Period(None, None))
    try:
        valid_from, test_from = parse_time(split["valid_from"]), parse_time(split["test_from"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"valid_from or test_from is missing or not a time ({error})",
            where=str(path),
            fix="run the prepare stage again",
        ) from error
    return {"valid": _Period(valid_from, test_from), "test": _Period(test_from, None)}
