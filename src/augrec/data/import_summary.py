"""What an import read, in a few lines, and warnings of what looks wrong in it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final

import polars as pl

from augrec.data.canonical import LazyTables
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GroupTables
from augrec.data.instants import resolution

log = logging.getLogger(__name__)

_LARGE_SHARE: Final = 0.1
_LARGE_FACTOR: Final = 20
"""An id with this share of the rows, and with this many times the average, is often not one user or
item, but stands for all that are unknown."""
_SHOWN: Final = 8
_ROWS: Final = "__rows"


def summarise(tables: LazyTables, left_out: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Subjects, and what there is to say about each.

    Args:
        tables: the canonical tables.
        left_out: {table: columns of the source that were not imported}; a table that is not in it
            was not given.
    """
    rows = tables.interactions
    met = {key: _counts(rows, key).drop_nulls(key) for key in (C.USER, C.ITEM)}
    n_rows = int(_value(rows.select(pl.len())))
    events = [f"{name or 'missing'} {n:,}" for name, n in _counts(rows, C.EVENT).iter_rows()]
    found = [
        (
            "rows",
            f"{n_rows:,} interactions, {len(met[C.USER]):,} users, {len(met[C.ITEM]):,} items",
        ),
        ("times", _times(rows)),
        ("events", _shown(events)),
    ]
    filled = {}
    for name, table in tables._asdict().items():
        filled[name] = _filled(table.lazy())
        if name in left_out or len(filled[name]) > 1:
            found.append((f"{name} columns", _columns(filled[name], left_out.get(name, []))))
    for name, key in (("items", C.ITEM), ("users", C.USER)):
        if name in left_out or len(filled[name]) > 1:
            found.append((f"{name} matched", _matched(met[key], getattr(tables, name), key)))
    return found


def summarise_groups(found: GroupTables, tables: LazyTables) -> list[tuple[str, str]]:
    """Subjects, and what there is to say about people who decide together."""
    groups, chosen = found
    sizes = groups.drop_nulls().unique().group_by(C.GROUP).len()
    least, most = sizes.select(least=pl.col("len").min(), most=pl.col("len").max()).row(0)
    members = groups.select(C.USER).drop_nulls().unique()
    active = tables.interactions.select(C.USER).unique().collect(engine="streaming")
    users = pl.concat([tables.users.select(C.USER), active]).unique()
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
            ("group times", _times(chosen.lazy())),
        ]
    return found_rows


def warn(tables: LazyTables, given: Collection[str]) -> None:
    """Warn of ids with a large share of all rows, and of tables whose ids match nothing.

    Args:
        tables: the canonical tables.
        given: which of items and users have a table of their own.
    """
    for name, key in (("items", C.ITEM), ("users", C.USER)):
        counts = _counts(tables.interactions, key).drop_nulls(key)
        _warn_of_large_share(counts)
        column, table = counts[key], getattr(tables, name)[key]
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


def _warn_of_large_share(counts: pl.DataFrame) -> None:
    if counts.is_empty():
        return
    (largest, n), n_rows = counts.row(0), int(counts["len"].sum())
    if n > _LARGE_SHARE * n_rows and n * len(counts) > _LARGE_FACTOR * n_rows:
        log.warning(
            "the %s %r has %.0f %% of all rows: if it stands for unknown ones, add it to "
            "data.import.nulls in params.yaml",
            counts.columns[0],
            largest,
            100 * n / n_rows,
        )


def _times(rows: pl.LazyFrame) -> str:
    ends = [pl.col(C.TIMESTAMP).min(), pl.col(C.TIMESTAMP).max()]
    first, last = (_value(rows.select(end)) for end in ends)
    if first is None:
        return "none"
    unit = resolution(rows)
    length = 10 if unit == "days" else 16
    first, last = str(first)[:length], str(last)[:length]
    return f"{first} to {last} UTC, at a resolution of {unit}"


def _counts(rows: pl.LazyFrame, key: str) -> pl.DataFrame:
    """The values of a column and their numbers of rows, the most frequent first."""
    counts = rows.group_by(key).len().collect(engine="streaming")
    return counts.sort("len", key, descending=[True, False])


def _value(table: pl.LazyFrame) -> Any:
    return table.collect(engine="streaming").item()


def _filled(table: pl.LazyFrame) -> dict[str, int]:
    """The columns that are not empty, and how many values each lacks."""
    nulls = table.select(pl.len().alias(_ROWS), pl.all().null_count())
    found = nulls.collect(engine="streaming").row(0, named=True)
    n_rows = found.pop(_ROWS)
    return {name: n for name, n in found.items() if name not in (C.ORIGIN, C.WEIGHT) and n < n_rows}


def _columns(filled: Mapping[str, int], left_out: list[str]) -> str:
    found = [f"{name} ({nulls:,} missing)" if nulls else name for name, nulls in filled.items()]
    return _shown(found) + (f"; left out: {_shown(left_out)}" if left_out else "")


def _matched(met: pl.DataFrame, table: pl.DataFrame, key: str) -> str:
    known = met.join(table.select(key), on=key, how="semi")
    return f"{len(known):,} of {len(met):,} in the interactions; the table has {len(table):,} rows"


def _shown(texts: list[str]) -> str:
    others = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {others:,} more" if others > 0 else "")


def _examples(column: pl.Series) -> str:
    return ", ".join(repr(value) for value in column.drop_nulls().unique().sort().head(2))
