"""Rules that make a row invalid: a polars mask for the quarantine, an expectation for the report.

The mask of a rule marks exactly the rows that its expectation counts as unexpected; a test compares
the two. Masks are computed in polars because asking Great Expectations *which* rows fail is slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from augrec.data.columns import CONTROL_CHARACTERS, INTERACTIONS, MAX_ID_LENGTH, REAL, TIME
from augrec.data.columns import Columns as C
from augrec.data.instants import ZONE_STEP_US
from augrec.validation.config import Range, ValidationConfig

NO_ID: Final = r"^\s*(?:(?i:nan|none|null|nat|<na>))?\s*$"
"""How other programs write a missing id as text."""

COPY: Final = "row is an exact copy of an earlier one"

MAX_WEIGHT: Final = 1e6

_MINUTES: Final = ZONE_STEP_US // 60_000_000
_HAS_TIME_OF_DAY: Final = (
    f"{C.TIMESTAMP}.dt.minute % {_MINUTES} != 0 or {C.TIMESTAMP}.dt.second != 0 "
    f"or {C.TIMESTAMP}.dt.microsecond != 0"
)
"""In words of pandas: the time is not midnight in any time zone."""


@dataclass(frozen=True)
class Rule:
    """One way in which a row can be invalid.

    Attributes:
        reason: text written to the quarantine.
        expectation: class name in `great_expectations.expectations`.
        arguments: its keyword arguments.
        flagged: Boolean expression, never null: rows that the expectation counts as unexpected.
        repeats: for uniqueness: the columns in which rows must differ. All rows of a group are
            flagged, but the first one that no other rule flags is kept.
    """

    reason: str
    expectation: str
    arguments: Mapping[str, Any]
    flagged: pl.Expr
    repeats: Sequence[str] = field(default=())


def interaction_rules(config: ValidationConfig, latest: datetime) -> list[Rule]:
    """Rules for interactions; timestamps after `latest` are in the future."""
    *most, copy = event_rules(C.USER, tuple(INTERACTIONS), config, latest)
    return [
        *most,
        _missing(C.ORIGIN),
        _one_of(
            C.ORIGIN, [REAL], "origin is not real: generated rows do not belong in the raw data"
        ),
        _missing(C.WEIGHT),
        Rule(
            f"weight is not above 0 and at most {MAX_WEIGHT:,.0f}",
            "ExpectColumnValuesToBeBetween",
            {"column": C.WEIGHT, "min_value": 0.0, "strict_min": True, "max_value": MAX_WEIGHT},
            true((pl.col(C.WEIGHT) <= 0.0) | (pl.col(C.WEIGHT) > MAX_WEIGHT)),
        ),
        copy,
    ]


def event_rules(
    key: str, columns: Sequence[str], config: ValidationConfig, latest: datetime
) -> list[Rule]:
    """Rules for events of users or of groups, the last of which is about copies.

    Args:
        key: user_id or group_id.
        columns: of the table; rows that are alike in all of them are copies.
        config: the limits.
        latest: later timestamps are in the future.
    """
    return [
        *identifier(key),
        *identifier(C.ITEM),
        _missing(C.EVENT),
        _one_of(C.EVENT, config.events, "event is not one of validation.events"),
        _within(C.VALUE, config.value),
        _missing(C.TIMESTAMP),
        Rule(
            f"timestamp is before {config.earliest:%Y-%m-%d}",
            "ExpectColumnValuesToBeBetween",
            {"column": C.TIMESTAMP, "min_value": config.earliest},
            true(pl.col(C.TIMESTAMP) < pl.lit(config.earliest, dtype=TIME)),
        ),
        Rule(
            "timestamp is in the future",
            "ExpectColumnValuesToBeBetween",
            {"column": C.TIMESTAMP, "max_value": latest},
            true(pl.col(C.TIMESTAMP) > pl.lit(latest, dtype=TIME)),
        ),
        # a date says no more than the day: two equal rows may be two views on it
        Rule(
            COPY,
            "ExpectCompoundColumnsToBeUnique",
            {
                "column_list": list(columns),
                "ignore_row_if": "never",
                "row_condition": _HAS_TIME_OF_DAY,
                "condition_parser": "pandas",
            },
            pl.struct(list(columns)).is_duplicated()
            & (pl.col(C.TIMESTAMP).to_physical() % ZONE_STEP_US != 0).fill_null(True),
            repeats=tuple(columns),
        ),
    ]


def item_rules(config: ValidationConfig) -> list[Rule]:
    """Rules for items."""
    return [*identifier(C.ITEM), _unique(C.ITEM), _within(C.PRICE, config.price)]


def user_rules() -> list[Rule]:
    """Rules for users."""
    return [*identifier(C.USER), _unique(C.USER)]


def identifier(column: str) -> list[Rule]:
    """Rules for a column of ids."""
    empty = Rule(
        f"{column} is empty",
        "ExpectColumnValuesToNotMatchRegex",
        {"column": column, "regex": NO_ID},
        true(pl.col(column).str.contains(NO_ID)),
    )
    control = Rule(
        f"{column} has control characters",
        "ExpectColumnValuesToNotMatchRegex",
        {"column": column, "regex": CONTROL_CHARACTERS},
        true(pl.col(column).str.contains(CONTROL_CHARACTERS)),
    )
    long = Rule(
        f"{column} has more than {MAX_ID_LENGTH} characters",
        "ExpectColumnValueLengthsToBeBetween",
        {"column": column, "max_value": MAX_ID_LENGTH},
        true(pl.col(column).str.len_chars() > MAX_ID_LENGTH),
    )
    return [_missing(column), empty, control, long]


def _missing(column: str) -> Rule:
    return Rule(
        f"{column} is missing",
        "ExpectColumnValuesToNotBeNull",
        {"column": column},
        pl.col(column).is_null(),
    )


def _unique(column: str) -> Rule:
    return Rule(
        f"{column} occurs in an earlier row",
        "ExpectColumnValuesToBeUnique",
        {"column": column},
        pl.col(column).is_duplicated() & pl.col(column).is_not_null(),
        repeats=(column,),
    )


def unique(columns: Sequence[str], reason: str) -> Rule:
    """Rows must differ in these columns; the first of those that do not is kept."""
    return Rule(
        reason,
        "ExpectCompoundColumnsToBeUnique",
        {"column_list": list(columns), "ignore_row_if": "never"},
        pl.struct(list(columns)).is_duplicated(),
        repeats=tuple(columns),
    )


def _one_of(column: str, values: Sequence[str], reason: str) -> Rule:
    return Rule(
        reason,
        "ExpectColumnValuesToBeInSet",
        {"column": column, "value_set": list(values)},
        true(~pl.col(column).is_in(list(values))),
    )


def _within(column: str, limits: Range) -> Rule:
    return Rule(
        f"{column} is not within {limits.min:,.12g} and {limits.max:,.12g}",
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": limits.min, "max_value": limits.max},
        true((pl.col(column) < limits.min) | (pl.col(column) > limits.max)),
    )


def true(condition: pl.Expr) -> pl.Expr:
    """Null as False: only the rule for missing values flags nulls."""
    return condition.fill_null(False)
