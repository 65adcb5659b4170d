"""Reads files of unknown quality: says clearly what is missing, truncated or of the wrong type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.errors import InputError
from augrec.core.files import check_parquet
from augrec.data.columns import TIME, require
from augrec.validation.config import parse_time


def read(path: Path, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Read a Parquet table and convert its columns to the types of `schema` where that is lossless.

    Integer ids and floating-point ids without a fraction become text, times without a time zone
    are UTC, NaN becomes null. Columns that are not in the schema follow; categories become text.

    Raises:
        InputError: the file is missing, empty, truncated or not Parquet; a column is missing or of
            another type.
    """
    table = _read_parquet(path)
    present = {name: kind for name, kind in schema.items() if name in table.columns}
    columns = [_lossless(table[name], kind) for name, kind in present.items()]
    further = pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String)
    table = table.with_columns(columns).with_columns(further)
    require(table, schema, where=str(path))
    return table.select([*schema, *(name for name in table.columns if name not in schema)])


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or cannot be parsed.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        )
        raise InputError(
            f"the file {problem}", where=str(path), fix="run the step that writes it again"
        ) from error


def taken_at(source: Path) -> datetime | None:
    """When the snapshot was taken: `taken_at` of source.json, in UTC; None if it is not recorded.

    Raises:
        InputError: source.json cannot be read, or `taken_at` is not an ISO time.
    """
    if not source.exists():
        return None
    found = read_json(source)
    value = found.get("taken_at") if isinstance(found, dict) else None
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        raise InputError(
            f"taken_at is not a time: {error}",
            where=str(source),
            fix="write it as an ISO time in UTC",
        ) from error


def _read_parquet(path: Path) -> pl.DataFrame:
    fix = "import the data again, or run the stage that writes it"
    if not path.is_file():
        raise InputError("the file is missing", where=str(path), fix=fix)
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=str(path), fix=fix)
    try:
        check_parquet(path)
        return pl.read_parquet(path)
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            "the file cannot be read; it may be damaged, truncated or not Parquet "
            f"({_first_line(error)})",
            where=str(path),
            fix=fix,
        ) from error


def _lossless(column: pl.Series, kind: Any) -> pl.Series:
    """The column as `kind`, or unchanged where the conversion would lose something; `require` then
    reports it."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype == kind:
        return column
    source = column.dtype
    if kind == pl.String and source.is_float():
        whole = column.cast(pl.Int64, strict=False)
        exact = 2**24 if source == pl.Float32 else 2**53  # below it a float is one integer alone
        same = (whole.cast(source) == column) & (column.abs() < exact) | column.is_null()
        same = same.fill_null(False)
        return whole.cast(pl.String) if same.all() else column
    if kind == TIME and isinstance(source, pl.Datetime):
        zoned = (
            column.dt.convert_time_zone("UTC")
            if source.time_zone
            else column.dt.replace_time_zone("UTC")
        )
        return zoned.cast(TIME)
    fits = (
        source == pl.Null
        or (kind == pl.String and (source.is_integer() or source in (pl.Categorical, pl.Enum)))
        or (kind in (pl.Float32, pl.Float64) and source.is_numeric())
        or (kind == TIME and source == pl.Date)
        or (kind == pl.List(pl.String) and isinstance(source, pl.List))
    )
    if kind == TIME and source == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return _cast(column, kind) if fits else column


def _cast(column: pl.Series, kind: Any) -> pl.Series:
    try:
        return column.cast(kind)
    except pl.exceptions.PolarsError:
        return column


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
