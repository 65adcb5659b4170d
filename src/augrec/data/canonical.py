"""The canonical tables: complete them, write them to data/raw, read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from augrec.core.errors import InputError
from augrec.core.files import check_parquet, whole_directory, write_checked_parquet, write_json
from augrec.data.columns import INTERACTIONS, ITEMS, REAL, USERS, require
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GROUP_SCHEMAS, GroupTables, has_groups


class Tables(NamedTuple):
    """The canonical tables of one source, with the schemas `INTERACTIONS`, `ITEMS` and `USERS`; the
    latter two may have more columns."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame

    def lazy(self) -> LazyTables:
        """The same, as what may be larger is passed on."""
        return LazyTables(self.interactions.lazy(), self.items, self.users)


class LazyTables(NamedTuple):
    """As `Tables`, with interactions that are read when they are asked for: they may be more than
    the memory holds."""

    interactions: pl.LazyFrame
    items: pl.DataFrame
    users: pl.DataFrame

    def collect(self) -> Tables:
        """With the interactions in memory."""
        return Tables(self.interactions.collect(), self.items, self.users)


SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "interactions": INTERACTIONS,
    "items": ITEMS,
    "users": USERS,
}


def canonical_tables(
    interactions: pl.DataFrame, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
) -> Tables:
    """Add the canonical columns that are missing.

    They become null, except `origin` "real" and `weight` 1. Without a table of items or users, the
    table consists of the ids in the interactions. Other columns of items and users are kept, after
    the canonical ones.
    """
    rows = canonical_interactions(interactions)
    return Tables(rows, *canonical_attributes(rows.lazy(), items, users))


def canonical_interactions(interactions: pl.DataFrame) -> pl.DataFrame:
    """Interactions as `canonical_tables` makes them."""
    whole = interactions.with_columns(
        pl.lit(REAL).alias(C.ORIGIN), pl.lit(1.0, pl.Float32).alias(C.WEIGHT)
    )
    return _complete(whole, INTERACTIONS).select(list(INTERACTIONS))


def canonical_attributes(
    interactions: pl.LazyFrame, items: pl.DataFrame | None, users: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items and users as `canonical_tables` makes them."""
    return (
        _complete(_ids(interactions, C.ITEM) if items is None else items, ITEMS),
        _complete(_ids(interactions, C.USER) if users is None else users, USERS),
    )


def write_raw(
    folder: Path,
    interactions: pl.DataFrame | pl.LazyFrame,
    items: pl.DataFrame,
    users: pl.DataFrame,
    source: Mapping[str, Any],
    groups: GroupTables | None = None,
) -> None:
    """Write data/raw, completely or not at all: Parquet files and source.json.

    Args:
        folder: usually data/raw.
        interactions, items, users: canonical tables; interactions that are a LazyFrame are read
            and written a part at a time.
        source: description of the source, e.g. {"source": "movielens-100k"}; the number of rows
            and missing values of each table are added. It must not contain credentials:
            `augrec.data.sql.without_credentials` removes them.
        groups: people who decide together; None: there are none, and no files of them.

    Raises:
        InputError: a table lacks columns or has no rows.
    """
    given = {"interactions": interactions, "items": items, "users": users}
    given |= {} if groups is None else groups._asdict()
    tables = {name: table.lazy() for name, table in given.items()}
    for name, table in tables.items():
        require(table, {**SCHEMAS, **GROUP_SCHEMAS}[name], where=f"{name} to write to {folder}")
    rows = {name: int(_total(table, pl.len())["len"]) for name, table in tables.items()}
    if not rows["interactions"]:
        raise InputError(
            "there are no interactions",
            where=f"interactions to write to {folder}",
            fix="check the source",
        )
    nulls = {
        name: {column: n for column, n in _total(table, pl.all().null_count()).items() if n}
        for name, table in tables.items()
    }
    with whole_directory(folder) as draft:
        for name, table in tables.items():
            write_checked_parquet(draft / f"{name}.parquet", table)
        write_json(draft / "source.json", {**source, "rows": rows, "nulls": nulls})


def read_tables(folder: Path) -> Tables:
    """Read interactions, items and users from data/raw or data/validated.

    Raises:
        InputError: a file is missing, incomplete or lacks columns.
    """
    return lazy_tables(folder).collect()


def lazy_tables(folder: Path) -> LazyTables:
    """As `read_tables`, without reading the interactions yet."""
    found = {name: _scan(folder, name, schema) for name, schema in SCHEMAS.items()}
    return LazyTables(found["interactions"], found["items"].collect(), found["users"].collect())


def read_groups(folder: Path) -> GroupTables | None:
    """Read the tables of groups from data/raw or data/validated; None: there are none.

    Raises:
        InputError: as `read_tables`.
    """
    if not has_groups(folder):
        return None
    return GroupTables(
        **{name: _scan(folder, name, schema).collect() for name, schema in GROUP_SCHEMAS.items()}
    )


def _scan(folder: Path, name: str, schema: Mapping[str, Any]) -> pl.LazyFrame:
    path = folder / f"{name}.parquet"
    try:
        check_parquet(path)
        found = pl.scan_parquet(path)
        found.collect_schema()
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        problem = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        )
        raise InputError(
            f"the table of {name.replace('_', ' ')} {problem}",
            where=str(path),
            fix="import the data again, or run the stage that writes this table",
        ) from error
    require(found, schema, where=str(path))
    return found


def _total(table: pl.LazyFrame, what: pl.Expr) -> dict[str, Any]:
    return table.select(what).collect(engine="streaming").row(0, named=True)


def _ids(interactions: pl.LazyFrame, column: str) -> pl.DataFrame:
    known = interactions.select(column).drop_nulls().unique()
    return known.collect(engine="streaming").sort(column)


def _complete(table: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in schema.items()
        if name not in table.columns
    ]
    typed = table.with_columns(missing).with_columns(
        pl.col(name).cast(kind) for name, kind in schema.items()
    )
    return typed.select([*schema, *(name for name in typed.columns if name not in schema)])
