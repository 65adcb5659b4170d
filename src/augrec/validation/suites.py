"""Expectations for the raw tables, derived from `ValidationConfig`; `expectations` runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from augrec.data.columns import INTERACTIONS, ITEMS, TIME, USERS
from augrec.data.columns import Columns as C
from augrec.validation.config import ValidationConfig
from augrec.validation.quarantine import REASON, CheckedTable
from augrec.validation.rules import Rule, interaction_rules, item_rules, user_rules

KNOWN: Final = "item_known"
"""Boolean column: whether the items table has the item of the row."""

_TYPES: Final = {pl.String: "str", pl.Float32: "float32", pl.Float64: "float64", TIME: "Timestamp"}


@dataclass(frozen=True)
class Check:
    """One expectation.

    Attributes:
        claim: short description, shown in Data Docs and messages.
        expectation: class name in `great_expectations.expectations`.
        arguments: its keyword arguments.
        critical: its failure stops the run.
        fix: what to do when it fails.
    """

    claim: str
    expectation: str
    arguments: Mapping[str, Any]
    critical: bool = False
    fix: str = ""


@dataclass(frozen=True)
class Suite:
    """Expectations for one table.

    Attributes:
        name: of the suite and of its Data Docs page.
        about: description of the table.
        table: the rows to check, scalar columns only.
        checks: at least a row count, because most expectations hold for an empty table.
        part_by: the column by which a large table is validated in parts, see
            `augrec.validation.parts`; what has to be unique must be so by this column. None: it is
            validated whole.
    """

    name: str
    about: str
    table: pl.DataFrame
    checks: Sequence[Check] = field(default=())
    part_by: str | None = None

    def __post_init__(self) -> None:
        for check in self.checks if self.part_by is not None else ():
            columns = check.arguments.get("column_list", [check.arguments.get("column")])
            if "Unique" in check.expectation and self.part_by not in columns:
                raise ValueError(f"{self.name}: {check.claim} cannot be validated in parts")


def rules_of(config: ValidationConfig, latest: datetime) -> dict[str, list[Rule]]:
    """The rules of each raw table."""
    return {
        "interactions": interaction_rules(config, latest),
        "items": item_rules(config),
        "users": user_rules(),
    }


def snapshot_suites(
    tables: Mapping[str, CheckedTable],
    rules: Mapping[str, Sequence[Rule]],
    config: ValidationConfig,
) -> list[Suite]:
    """Suites for the unfiltered raw tables: types, every rule, the share of quarantined rows."""
    suites = []
    for name, schema in {"interactions": INTERACTIONS, "items": ITEMS, "users": USERS}.items():
        table = tables[name]
        scalars = [column for column, kind in schema.items() if not isinstance(kind, pl.List)]
        raw = name == "interactions"
        least = 1 if raw else min(1, len(table.rows))  # items and users are optional
        checks = [
            row_count(
                least, f"at least {least} row", critical=raw, fix="check the source of data/raw"
            ),
            has_columns(scalars),
            *types({column: schema[column] for column in scalars}),
            *checks_of(rules[name]),
            share(name, config),
        ]
        if not raw and least:
            checks.append(
                Check(
                    f"some rows of {name} are valid",
                    "ExpectColumnUniqueValueCountToBeBetween",
                    {"column": scalars[0], "min_value": 1},
                )
            )
        suites.append(
            Suite(
                name,
                f"{name}, unfiltered",
                table.rows.select(*scalars, REASON),
                checks,
                C.ITEM if name == "items" else C.USER,
            )
        )
    return suites


def kept_suite(interactions: pl.DataFrame, items: pl.DataFrame, config: ValidationConfig) -> Suite:
    """The suite for the interactions that are kept: are enough left?

    Args:
        interactions: the valid rows inside the window.
        items: the valid rows of the items table; if it is empty, items without metadata are not
            checked.
        config: the minimum numbers.
    """
    more = "bring more data, widen data.window, or lower validation.{} in params.yaml"
    checks = [
        row_count(
            config.min_interactions,
            f"at least {config.min_interactions:,} interactions are left",
            fix=more.format("min_interactions"),
        ),
        _distinct(C.USER, config.min_users, "users", more.format("min_users")),
        _distinct(C.ITEM, config.min_items, "items", more.format("min_items")),
    ]
    # numbers in place of ids: they are only counted, and pandas takes far less for them
    codes = pl.col(C.USER, C.ITEM).cast(pl.Categorical).to_physical()
    table = interactions.select(codes)
    if len(items):
        known = interactions[C.ITEM].is_in(items[C.ITEM].implode()).fill_null(False)
        table = table.with_columns(known.alias(KNOWN))
        checks.append(
            Check(
                f"at most {config.max_unknown_item_share:.0%} of the rows have an item without a "
                "row in items",
                "ExpectColumnValuesToBeInSet",
                {
                    "column": KNOWN,
                    "value_set": [True],
                    "mostly": round(1 - config.max_unknown_item_share, 9),
                },
            )
        )
    return Suite("interactions_kept", "valid interactions inside the window", table, checks)


def row_count(least: int, claim: str, *, critical: bool = True, fix: str = "") -> Check:
    """At least `least` rows."""
    return Check(claim, "ExpectTableRowCountToBeBetween", {"min_value": least}, critical, fix)


def has_columns(names: Sequence[str]) -> Check:
    """The table has all of these columns."""
    return Check(
        f"has the columns {', '.join(names)}",
        "ExpectTableColumnsToMatchSet",
        {"column_set": list(names), "exact_match": False},
        critical=True,
        fix="check the column mapping under data.import in params.yaml",
    )


def types(schema: Mapping[str, Any]) -> list[Check]:
    """Each column has its type."""
    return [
        Check(
            f"{column} is of type {_TYPES[kind]}",
            "ExpectColumnValuesToBeOfType",
            {"column": column, "type_": _TYPES[kind]},
            critical=True,
            fix="import the data again",
        )
        for column, kind in schema.items()
        if kind in _TYPES
    ]


def checks_of(rules: Sequence[Rule]) -> list[Check]:
    """The expectation of each rule."""
    return [Check(f"never: {rule.reason}", rule.expectation, rule.arguments) for rule in rules]


def share(name: str, config: ValidationConfig) -> Check:
    """Few rows of a raw table are quarantined; critical for interactions."""
    return Check(
        f"at most {config.max_quarantined_share:.1%} of the rows are quarantined",
        "ExpectColumnValuesToBeNull",
        {"column": REASON, "mostly": round(1 - config.max_quarantined_share, 9)},
        critical=name == "interactions",
        fix=f"look at the reasons in data/quarantine/{name}.parquet and correct the source or "
        "data.import in params.yaml (names of events: data.import.interactions.events), or raise "
        "validation.max_quarantined_share",
    )


def _distinct(column: str, least: int, words: str, fix: str) -> Check:
    return Check(
        f"at least {least:,} {words} are left",
        "ExpectColumnUniqueValueCountToBeBetween",
        {"column": column, "min_value": least},
        critical=True,
        fix=fix,
    )
