"""The canonical tables: complete them, write them to data/raw, read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from augrec.core.errors import InputError
from augrec.core.files import check_parquet, whole_directory, write_json, write_parquet
from augrec.data.columns import INTERACTIONS, ITEMS, REAL, USERS, require
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GROUP_SCHEMAS, GroupTables, has_groups


class Tables(NamedTuple):
    """The canonical tables of one source, with the schemas `INTERACTIONS`, `ITEMS` and `USERS`; the
    latter two may have more columns."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame


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
    whole = interactions.with_columns(
        pl.lit(REAL).alias(C.ORIGIN), pl.lit(1.0, pl.Float32).alias(C.WEIGHT)
    )
    return Tables(
        _complete(whole, INTERACTIONS).select(list(INTERACTIONS)),
        _complete(_ids(interactions, C.ITEM) if items is None else items, ITEMS),
        _complete(_ids(interactions, C.USER) if users is None else users, USERS),
    )


def write_raw(
    folder: Path,
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    users: pl.DataFrame,
    source: Mapping[str, Any],
    groups: GroupTables | None = None,
) -> None:
    """Write data/raw, completely or not at all: Parquet files and source.json.

    Args:
        folder: usually data/raw.
        interactions, items, users: canonical tables.
        source: description of the source, e.g. {"source": "movielens-100k"}; the number of rows
            and missing values of each table are added. It must not contain credentials:
            `augrec.data.sql.without_credentials` removes them.
        groups: people who decide together; None: there are none, and no files of them.

    Raises:
        InputError: a table lacks columns or has no rows.
    """
    tables = Tables(interactions, items, users)._asdict()
    tables |= {} if groups is None else groups._asdict()
    for name, table in tables.items():
        require(table, {**SCHEMAS, **GROUP_SCHEMAS}[name], where=f"{name} to write to {folder}")
    if interactions.is_empty():
        raise InputError(
            "there are no interactions",
            where=f"interactions to write to {folder}",
            fix="check the source",
        )
    nulls = {
        name: {
            column: table[column].null_count()
            for column in table.columns
            if table[column].null_count()
        }
        for name, table in tables.items()
    }
    with whole_directory(folder) as draft:
        for name, table in tables.items():
            write_parquet(draft / f"{name}.parquet", table, checksums=True)
        rows = {name: len(table) for name, table in tables.items()}
        write_json(draft / "source.json", {**source, "rows": rows, "nulls": nulls})


def read_tables(folder: Path) -> Tables:
    """Read interactions, items and users from data/raw or data/validated.

    Raises:
        InputError: a file is missing, incomplete or lacks columns.
    """
    return Tables(**{name: _read(folder, name, schema) for name, schema in SCHEMAS.items()})


def read_groups(folder: Path) -> GroupTables | None:
    """Read the tables of groups from data/raw or data/validated; None: there are none.

    Raises:
        InputError: as `read_tables`.
    """
    if not has_groups(folder):
        return None
    return GroupTables(
        **{name: _read(folder, name, schema) for name, schema in GROUP_SCHEMAS.items()}
    )


def _read(folder: Path, name: str, schema: Mapping[str, Any]) -> pl.DataFrame:
    path = folder / f"{name}.parquet"
    try:
        check_parquet(path)
        found = pl.read_parquet(path)
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


def _ids(interactions: pl.DataFrame, column: str) -> pl.DataFrame:
    return interactions.select(column).drop_nulls().unique().sort(column)


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
