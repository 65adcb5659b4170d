"""What an import read, in a few lines, and warnings of what looks wrong in it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from augrec.data.canonical import Tables
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GroupTables
from augrec.data.instants import resolution

log = logging.getLogger(__name__)

_LARGE_SHARE: Final = 0.1
_LARGE_FACTOR: Final = 20
"""An id with this share of the rows, and with this many times the average, is often not one user or
item, but stands for all that are unknown."""
_SHOWN: Final = 8


def summarise(tables: Tables, left_out: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Subjects, and what there is to say about each.

    Args:
        tables: the canonical tables.
        left_out: {table: columns of the source that were not imported}; a table that is not in it
            was not given.
    """
    interactions = tables.interactions
    users, items = interactions.select(pl.col(C.USER, C.ITEM).drop_nulls().n_unique()).row(0)
    found = [
        ("rows", f"{len(interactions):,} interactions, {users:,} users, {items:,} items"),
        ("times", _times(interactions[C.TIMESTAMP])),
        ("events", _shown([f"{name} {n:,}" for name, n in _counts(interactions[C.EVENT])])),
    ]
    for name, table in tables._asdict().items():
        columns = _filled(table)
        if name in left_out or len(columns) > 1:
            found.append((f"{name} columns", _columns(table, columns, left_out.get(name, []))))
    for name, key in (("items", C.ITEM), ("users", C.USER)):
        table = getattr(tables, name)
        if name in left_out or len(_filled(table)) > 1:
            found.append((f"{name} matched", _matched(interactions, table, key)))
    return found


def summarise_groups(found: GroupTables, tables: Tables) -> list[tuple[str, str]]:
    """Subjects, and what there is to say about people who decide together."""
    groups, chosen = found
    sizes = groups.drop_nulls().unique().group_by(C.GROUP).len()
    least, most = sizes.select(least=pl.col("len").min(), most=pl.col("len").max()).row(0)
    members = groups.select(C.USER).drop_nulls().unique()
    users = pl.concat([tables.users.select(C.USER), tables.interactions.select(C.USER)]).unique()
    known = members.join(users, on=C.USER, how="semi")
    spread = f"of {least} to {most}, " if len(sizes) else ""
    found_rows = [
        (
            "groups",
            f"{len(sizes):,} {spread}{len(members):,} members, {len(known):,} of them known users",
        )
    ]
    if len(chosen):
        deciding = chosen.select(C.GROUP).drop_nulls().unique()
        with_members = deciding.join(groups, on=C.GROUP, how="semi")
        found_rows += [
            (
                "group choices",
                f"{len(chosen):,} rows of {len(deciding):,} groups, {len(with_members):,} of them "
                "with members",
            ),
            ("group times", _times(chosen[C.TIMESTAMP])),
        ]
    return found_rows


def warn(tables: Tables, given: Collection[str]) -> None:
    """Warn of ids with a large share of all rows, and of tables whose ids match nothing.

    Args:
        tables: the canonical tables.
        given: which of items and users have a table of their own.
    """
    for name, key in (("items", C.ITEM), ("users", C.USER)):
        column = tables.interactions[key].drop_nulls()
        _warn_of_large_share(column)
        table = getattr(tables, name)[key]
        if name in given and not column.is_in(table.drop_nulls().implode()).any():
            log.warning(
                "no %s of the interactions, such as %s, is in the table of %s, which has %s: "
                "nothing of that table is used; set data.import.%s.%s in params.yaml to the column "
                "with the same ids",
                key,
                _examples(column),
                name,
                _examples(table),
                name,
                key,
            )


def _warn_of_large_share(column: pl.Series) -> None:
    counts = column.value_counts(sort=True)
    if counts.is_empty():
        return
    largest, n = counts.row(0)
    if n > _LARGE_SHARE * len(column) and n * len(counts) > _LARGE_FACTOR * len(column):
        log.warning(
            "the %s %r has %.0f %% of all rows: if it stands for unknown ones, add it to "
            "data.import.nulls in params.yaml",
            column.name,
            largest,
            100 * n / len(column),
        )


def _times(column: pl.Series) -> str:
    known = column.drop_nulls()
    if known.is_empty():
        return "none"
    unit = resolution(known)
    length = 10 if unit == "days" else 16
    first, last = str(known.min())[:length], str(known.max())[:length]
    return f"{first} to {last} UTC, at a resolution of {unit}"


def _counts(column: pl.Series) -> list[tuple[str, int]]:
    return [(name or "missing", n) for name, n in column.value_counts(sort=True).iter_rows()]


def _filled(table: pl.DataFrame) -> list[str]:
    return [
        name
        for name in table.columns
        if name not in (C.ORIGIN, C.WEIGHT) and table[name].null_count() < len(table)
    ]


def _columns(table: pl.DataFrame, names: list[str], left_out: list[str]) -> str:
    found = [
        f"{name} ({nulls:,} missing)" if (nulls := table[name].null_count()) else name
        for name in names
    ]
    return _shown(found) + (f"; left out: {_shown(left_out)}" if left_out else "")


def _matched(interactions: pl.DataFrame, table: pl.DataFrame, key: str) -> str:
    met = interactions.select(key).drop_nulls().unique()
    known = met.join(table.select(key), on=key, how="semi")
    return f"{len(known):,} of {len(met):,} in the interactions; the table has {len(table):,} rows"


def _shown(texts: list[str]) -> str:
    others = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {others:,} more" if others > 0 else "")


def _examples(column: pl.Series) -> str:
    return ", ".join(repr(value) for value in column.drop_nulls().unique().sort().head(2))
