"""The two optional tables of people who decide together: who is in a group, and what groups
chose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from augrec.data.columns import GROUP_INTERACTIONS, GROUPS, empty


class GroupTables(NamedTuple):
    """The tables of groups of one source, with the schemas `GROUPS` and `GROUP_INTERACTIONS`."""

    groups: pl.DataFrame
    group_interactions: pl.DataFrame


GROUP_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "groups": GROUPS,
    "group_interactions": GROUP_INTERACTIONS,
}


def canonical_groups(groups: pl.DataFrame, chosen: pl.DataFrame | None = None) -> GroupTables:
    """The tables in their canonical types; columns that are missing become null.

    Args:
        groups: group_id, user_id.
        chosen: group_id, item_id, event, …; None: groups have no choices of their own.
    """
    table = empty(GROUP_INTERACTIONS) if chosen is None else chosen
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in GROUP_INTERACTIONS.items()
        if name not in table.columns
    ]
    return GroupTables(
        groups.select(pl.col(name).cast(kind) for name, kind in GROUPS.items()),
        table.with_columns(missing).select(
            pl.col(name).cast(kind) for name, kind in GROUP_INTERACTIONS.items()
        ),
    )


def has_groups(folder: Path) -> bool:
    """Whether a folder of tables, such as data/raw, has those of groups."""
    return (folder / "groups.parquet").exists()
