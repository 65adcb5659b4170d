"""Import a shop's own tables: CSV, Parquet or SQL, with the column mapping of `data.import` in
params.yaml."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.config import ImportConfig, InteractionColumns, ItemColumns, UserColumns
from augrec.data.sql import is_url, read_sql, without_credentials

CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")


@dataclass(frozen=True)
class Source:
    """Where one table is.

    Attributes:
        location: a CSV or Parquet file, a folder of Parquet files, or an SQLAlchemy URL.
        table, query: for a URL, the table to read, or a SELECT.
    """

    location: str
    table: str | None = None
    query: str | None = None

    def describe(self) -> str:
        """A description of the source for messages, without credentials."""
        if not is_url(self.location):
            return self.location
        return f"{without_credentials(self.location)}, {self.table or self.query}"


def import_tables(
    config: ImportConfig,
    interactions: Source,
    items: Source | None = None,
    users: Source | None = None,
) -> Tables:
    """Read a shop's tables and convert them to canonical ones. No row is dropped: that is left to
    validation.

    Raises:
        ConfigError: the configuration in params.yaml is not possible.
        InputError: a file is missing, empty, incomplete, or lacks a mapped column; no timestamp can
            be read.
        TransientError: a database does not respond.
    """
    return canonical_tables(
        _interactions(config.interactions, interactions),
        _items(config.items, items) if items else None,
        _users(config.users, users) if users else None,
    )


def describe(
    interactions: Source, items: Source | None = None, users: Source | None = None
) -> dict[str, Any]:
    """The description of an import for `write_raw`, without credentials."""
    named = {"interactions": interactions, "items": items, "users": users}
    return {
        "source": "import",
        "tables": {name: source.describe() for name, source in named.items() if source},
    }


def read_source(source: Source) -> pl.DataFrame:
    """Read a table without conversion. All columns of a CSV file are read as text, so that an id
    such as 007 is kept; `convert.attribute` converts extra columns that contain only numbers.

    Raises:
        InputError: the file is missing, empty or cannot be read.
    """
    if is_url(source.location):
        table = read_sql(source.location, table=source.table, query=source.query)
    else:
        table = _read_file(Path(source.location))
    if table.is_empty():
        raise InputError(
            "the table has no rows",
            where=source.describe(),
            fix="check that the export is complete",
        )
    return table


def _read_file(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise InputError("there is no such file", where=str(path), fix="check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError("the file is empty", where=str(path), fix="export it again")
    try:
        if path.name.endswith(CSV_ENDINGS):
            return _read_csv(path)
        if path.name.endswith(PARQUET_ENDINGS) or path.is_dir():
            return pl.read_parquet(path)
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="it may be incomplete or not match its ending; CSV must be UTF-8; export it again",
        ) from error
    raise ConfigError(
        f"files with the ending {path.suffix or '(none)'} are not supported",
        where=str(path),
        fix=f"use one of {', '.join(CSV_ENDINGS + PARQUET_ENDINGS)}, or a database URL",
    )


def _read_csv(path: Path) -> pl.DataFrame:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as lines
    ):
        header = lines.readline()
    # the most frequent separator of the header, a comma if it has none
    separator = "\t" if ".tsv" in path.suffixes else max(",;\t|", key=header.count)
    return pl.read_csv(
        path, separator=separator, infer_schema=False, null_values=["NULL", "null", "NaN", "nan"]
    )


def _interactions(names: InteractionColumns, source: Source) -> pl.DataFrame:
    section, where = "data.import.interactions", source.describe()
    table = read_source(source)
    mapped = {
        C.USER: names.user_id,
        C.ITEM: names.item_id,
        C.TIMESTAMP: names.timestamp,
        C.EVENT: names.event,
        C.VALUE: names.value,
    }
    _require_columns(table, mapped, section, where)
    columns = [
        _ids(table, names.user_id, source).alias(C.USER),
        _ids(table, names.item_id, source).alias(C.ITEM),
        convert.times(
            table[names.timestamp], names.timestamp_unit, where=where, key=f"{section}.timestamp"
        ).alias(C.TIMESTAMP),
    ]
    if names.value is not None:
        columns.append(convert.numbers(table[names.value], pl.Float32, where=where).alias(C.VALUE))
    if names.event is not None:
        columns.append(convert.texts(table[names.event]).alias(C.EVENT))
    read = pl.DataFrame(columns)
    return (
        read
        if names.event is not None
        else read.with_columns(pl.lit(names.default_event).alias(C.EVENT))
    )


def _items(names: ItemColumns, source: Source) -> pl.DataFrame:
    where = source.describe()
    table = read_source(source)
    mapped = {
        C.ITEM: names.item_id,
        C.TITLE: names.title,
        C.DESCRIPTION: names.description,
        C.CATEGORIES: names.categories,
        C.TAGS: names.tags,
        C.PRICE: names.price,
    }
    _require_columns(table, mapped, "data.import.items", where, names.extra)
    columns = [_ids(table, names.item_id, source).alias(C.ITEM)]
    for name, column in ((C.TITLE, names.title), (C.DESCRIPTION, names.description)):
        if column is not None:
            columns.append(convert.texts(table[column]).alias(name))
    for name, column in ((C.CATEGORIES, names.categories), (C.TAGS, names.tags)):
        if column is not None:
            columns.append(convert.lists(table[column], names.list_separator).alias(name))
    if names.price is not None:
        columns.append(convert.numbers(table[names.price], pl.Float64, where=where).alias(C.PRICE))
    return _with_extra(columns, table, names.extra, "data.import.items", source)


def _users(names: UserColumns, source: Source) -> pl.DataFrame:
    table = read_source(source)
    _require_columns(
        table, {C.USER: names.user_id}, "data.import.users", source.describe(), names.extra
    )
    columns = [_ids(table, names.user_id, source).alias(C.USER)]
    return _with_extra(columns, table, names.extra, "data.import.users", source)


def _ids(table: pl.DataFrame, name: str, source: Source) -> pl.Series:
    try:
        return convert.ids(table[name], text_numbers=_untyped(source))
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"a column of type {table.schema[name]} cannot be used as ids",
            where=f"{source.describe()}, column {name}",
            fix="map a column of texts or integers",
        ) from error


def _untyped(source: Source) -> bool:
    return source.location.endswith(CSV_ENDINGS)


def _with_extra(
    columns: list[pl.Series], table: pl.DataFrame, extra: list[str], section: str, source: Source
) -> pl.DataFrame:
    taken = {column.name for column in columns}
    clashes = [name for name in extra if name in taken]
    if clashes:
        raise ConfigError(
            f"{', '.join(clashes)} cannot be an extra column: a mapped column has that name",
            where=f"params.yaml, {section}.extra",
            fix="remove it from extra",
        )
    further = (convert.attribute(table[name], text_numbers=_untyped(source)) for name in extra)
    return pl.DataFrame([*columns, *further])


def _require_columns(
    table: pl.DataFrame,
    mapped: dict[str, str | None],
    section: str,
    where: str,
    extra: Iterable[str] = (),
) -> None:
    wanted = [(f"{section}.{key}", name) for key, name in mapped.items() if name is not None]
    wanted += [(f"{section}.extra", name) for name in extra]
    missing = [(key, name) for key, name in wanted if name not in table.columns]
    if missing:
        raise InputError(
            f"missing columns: {', '.join(name for _, name in missing)}; found: "
            f"{', '.join(table.columns)}",
            where=where,
            fix=f"set {', '.join(key for key, _ in missing)} in params.yaml to the columns you "
            "have (null where optional)",
        )
