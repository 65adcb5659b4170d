"""Where a table is, and reading it without conversion."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.core.files import check_parquet
from augrec.data.config import TextFormat
from augrec.data.importing.delimited import ATOMIC_ENDINGS, read_delimited
from augrec.data.importing.folders import data_files, partition_values
from augrec.data.importing.nested import flatten
from augrec.data.importing.place import Place
from augrec.data.sql import is_url, read_sql, without_credentials

TEXT_ENDINGS: Final = tuple(
    ending + packed for packed in ("", ".gz") for ending in (".csv", ".tsv", *ATOMIC_ENDINGS)
)
PARQUET_ENDINGS: Final = (".parquet", ".pq")


@dataclass(frozen=True)
class Source:
    """Where one table is.

    Attributes:
        location: a text or Parquet file, a folder of such files, or an SQLAlchemy URL.
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


@dataclass(frozen=True)
class SourceTable:
    """A table as its source has it.

    Attributes:
        table: the rows; text files have only text columns, so that an id such as 007 is kept. A
            second column `x` is called `x (2)`.
        untyped: it comes from a text file.
        place: names it and its rows in messages.
    """

    table: pl.DataFrame
    untyped: bool
    place: Place


def read_source(source: Source, form: TextFormat, section: str) -> SourceTable:
    """Read a table without conversion; records become columns `record.field`.

    Args:
        source: where it is.
        form: how it is written.
        section: the part of params.yaml that maps its columns.

    Raises:
        ConfigError: a setting or the kind of file is not possible.
        InputError: the table is missing, empty, incomplete, or could be read in two ways.
        TransientError: a database does not respond.
    """
    if is_url(source.location):
        table = read_sql(source.location, table=source.table, query=source.query)
        found = SourceTable(flatten(table), False, Place(source.describe(), section))
    else:
        found = _read_path(Path(source.location), form, section)
    if found.table.is_empty():
        raise InputError(
            "the table has no rows",
            where=source.describe(),
            fix="check that the export is complete",
        )
    return found


def _read_path(path: Path, form: TextFormat, section: str) -> SourceTable:
    if not path.exists():
        raise InputError("there is no such file", where=str(path), fix="check the path")
    if path.is_dir():
        parts = [_read_file(file, form, section, path) for file in data_files(path)]
        return _joined(parts, Place(str(path), section))
    return _read_file(path, form, section)


def _read_file(
    path: Path, form: TextFormat, section: str, folder: Path | None = None
) -> SourceTable:
    place = Place(str(path), section)
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=str(path), fix="export it again")
    if not path.name.endswith(TEXT_ENDINGS + PARQUET_ENDINGS) and folder is None:
        raise ConfigError(
            f"files with the ending {path.suffix or '(none)'} are not supported",
            where=str(path),
            fix=f"use one of {', '.join(TEXT_ENDINGS + PARQUET_ENDINGS)}, a folder of them, or a "
            "database",
        )
    if path.name.endswith(TEXT_ENDINGS):
        text = read_delimited(path, form, place)
        found = SourceTable(text.table, True, Place(place.where, section, _line_of(text.numbers)))
    else:
        found = SourceTable(flatten(_read_parquet(path)), False, place)
    values = partition_values(path, folder) if folder else {}
    literals = [pl.lit(value, pl.String).alias(name) for name, value in values.items()]
    return SourceTable(found.table.with_columns(literals), found.untyped, found.place)


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        check_parquet(path)
        return pl.read_parquet(path, hive_partitioning=False)
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="it may be damaged, incomplete or not be Parquet; export it again",
        ) from error


def _joined(parts: list[SourceTable], place: Place) -> SourceTable:
    if len(parts) == 1:
        return parts[0]
    try:
        table = pl.concat([part.table for part in parts], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the files have columns of different types: {str(error).splitlines()[0]}",
            where=place.where,
            fix="export them with the same types",
        ) from error
    begins = [0]
    for part in parts:
        begins.append(begins[-1] + len(part.table))

    def row(position: int) -> str:
        number = bisect_right(begins, position) - 1
        part = parts[number].place
        return f"{Path(part.where).name}, {part.row(position - begins[number])}"

    return SourceTable(table, parts[0].untyped, Place(place.where, place.section, row))


def _line_of(numbers: pl.Series) -> Callable[[int], str]:
    return lambda position: f"line {numbers[position]:,}"
