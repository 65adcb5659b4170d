"""Validation of the optional tables of people who decide together: rules across tables, quarantine,
expectations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from augrec.data.columns import GROUP_INTERACTIONS, GROUPS
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GroupTables
from augrec.validation.config import ValidationConfig
from augrec.validation.quarantine import REASON, CheckedTable, apply_rules
from augrec.validation.rules import Rule, event_rules, identifier, true, unique
from augrec.validation.suites import Check, Suite, checks_of, has_columns, row_count, share, types

USER_KNOWN: Final = "user_known"
"""Column of checked groups: whether the member is among the users or has an interaction."""
MEMBERS: Final = "members"
"""Column of checked groups: how many valid members the group has."""
GROUP_KNOWN: Final = "group_known"
"""Column of checked choices: whether the group has at least two valid members."""


def check_groups(
    tables: GroupTables,
    kept: Mapping[str, pl.DataFrame],
    config: ValidationConfig,
    latest: datetime,
) -> tuple[dict[str, CheckedTable], list[Suite]]:
    """Apply the rules to both tables.

    Args:
        tables: as they were imported.
        kept: the valid interactions and users.
        config: the limits.
        latest: later timestamps are in the future.

    Returns:
        {table: its rows with the reasons}, with the columns that the rules look at, and the
        expectations.
    """
    users = pl.concat([kept["users"].select(C.USER), kept["interactions"].select(C.USER)]).unique()
    rows = _marked(tables.groups, users, C.USER, USER_KNOWN)
    single = apply_rules(rows, _member_rules())
    sizes = single.good.group_by(C.GROUP).agg(pl.len().cast(pl.Int64).alias(MEMBERS))
    rows = rows.join(sizes, on=C.GROUP, how="left", maintain_order="left").with_columns(
        pl.col(MEMBERS).fill_null(0)
    )
    of_groups = [*_member_rules(), *_size_rules(config)]
    groups = apply_rules(rows, of_groups)
    known = groups.good.select(C.GROUP).unique()
    of_choices = [
        *event_rules(C.GROUP, tuple(GROUP_INTERACTIONS), config, latest),
        Rule(
            "the group has no valid members",
            "ExpectColumnValuesToBeInSet",
            {"column": GROUP_KNOWN, "value_set": [True]},
            ~pl.col(GROUP_KNOWN),
        ),
    ]
    chosen = apply_rules(
        _marked(tables.group_interactions, known, C.GROUP, GROUP_KNOWN), of_choices
    )
    suites = [
        _suite("groups", groups, of_groups, {**GROUPS, MEMBERS: pl.Int64}, USER_KNOWN, config),
        _suite("group_interactions", chosen, of_choices, GROUP_INTERACTIONS, GROUP_KNOWN, config),
    ]
    return {"groups": groups, "group_interactions": chosen}, suites


def kept_groups(checked: Mapping[str, CheckedTable]) -> dict[str, pl.DataFrame]:
    """The valid rows of both tables, in the canonical columns."""
    return {
        "groups": checked["groups"].good.select(list(GROUPS)),
        "group_interactions": checked["group_interactions"].good.select(list(GROUP_INTERACTIONS)),
    }


def _member_rules() -> list[Rule]:
    return [
        *identifier(C.GROUP),
        *identifier(C.USER),
        Rule(
            "the member is not among the users and has no interaction",
            "ExpectColumnValuesToBeInSet",
            {"column": USER_KNOWN, "value_set": [True]},
            ~pl.col(USER_KNOWN),
        ),
        unique([C.GROUP, C.USER], "the member is in the group already"),
    ]


def _size_rules(config: ValidationConfig) -> list[Rule]:
    most = config.max_group_members
    return [
        Rule(
            "the group has fewer than two valid members",
            "ExpectColumnValuesToBeBetween",
            {"column": MEMBERS, "min_value": 2},
            pl.col(MEMBERS) < 2,
        ),
        Rule(
            f"the group has more than {most} members",
            "ExpectColumnValuesToBeBetween",
            {"column": MEMBERS, "max_value": most},
            pl.col(MEMBERS) > most,
        ),
    ]


def _marked(table: pl.DataFrame, known: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    """The table with a column that says whether the key is known; a missing key has a rule of its
    own."""
    marked = known.with_columns(pl.lit(True).alias(name))
    joined = table.join(marked, on=key, how="left", maintain_order="left")
    return joined.with_columns(true(pl.col(name)) | pl.col(key).is_null())


def _suite(
    name: str,
    table: CheckedTable,
    rules: list[Rule],
    schema: Mapping[str, pl.DataType | type[pl.DataType]],
    mark: str,
    config: ValidationConfig,
) -> Suite:
    words = name.replace("_", " ")
    checks: list[Check] = [
        row_count(0, "the table may be empty", critical=False),
        has_columns(list(schema)),
        *types(schema),
        *checks_of(rules),
        share(name, config),
    ]
    shown = table.rows.select(*schema, mark, REASON)
    return Suite(name, f"{words}, unfiltered", shown, checks)
