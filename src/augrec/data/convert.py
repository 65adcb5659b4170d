"""Convert columns of any type to canonical ones: ids, times, numbers, lists. Rows are never
dropped; a value that cannot be converted becomes null."""

from __future__ import annotations

import logging
from typing import Final

import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import TIME

log = logging.getLogger(__name__)

UNITS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in one unit."""

_NUMBER: Final = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]\d+)?$"
"""A number as programs write it; 01234 and 12E4 are codes."""
_FORMATS: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%#z")


def ids(column: pl.Series, *, text_numbers: bool = False) -> pl.Series:
    """Ids as strings: 5 and 5.0 become "5"; missing, NaN and empty ids become null.

    Args:
        column: any scalar type.
        text_numbers: the column was read as text from a file without types. "5.0" then becomes "5"
            if every id of the column has this form: many programs write integer ids like this if
            some are missing.
    """
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        texts = pl.select(
            pl.when(column.is_nan() | column.is_infinite())
            .then(None)
            .when(whole.cast(column.dtype) == column)
            .then(whole.cast(pl.String))
            .otherwise(column.cast(pl.String))
        ).to_series()
    elif column.dtype.is_decimal():
        texts = column.cast(pl.String).str.replace(r"\.0+$", "")
    else:
        texts = column.cast(pl.String).str.strip_chars()
    texts = texts.replace({"": None, "NaN": None, "nan": None})
    if text_numbers and texts.drop_nulls().str.contains(r"^-?\d+\.0$").all():
        texts = texts.str.replace(r"\.0$", "")
    return texts.alias(column.name)


def times(column: pl.Series, unit: str | None, *, where: str, key: str) -> pl.Series:
    """UTC times from dates, ISO 8601 texts (UTC if they have no zone), or numbers since 1970.

    Args:
        column: the values.
        unit: "s", "ms" or "us" for numbers, also in text form; None: the values are dates.
        where: the file or table, for messages.
        key: the entry of params.yaml that names the column, for messages.

    Raises:
        InputError: no value can be read; the message names the key of params.yaml to change. If
            only some cannot be read, they become null, and validation quarantines those rows.
    """
    if unit is not None and not column.dtype.is_temporal():
        read = _from_numbers(column, UNITS[unit])
    elif column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        zone = getattr(column.dtype, "time_zone", None)
        read = column.cast(pl.Datetime("us", zone))
        read = read.dt.convert_time_zone("UTC") if zone else read.dt.replace_time_zone("UTC")
    elif column.dtype == pl.String:
        read = _from_texts(column)
    elif column.null_count() == len(column):
        read = pl.Series(column.name, [None] * len(column), dtype=TIME)
    else:
        raise InputError(
            f"the timestamps are numbers ({column.drop_nulls()[0]}, …), but their unit is not set",
            where=f"{where}, column {column.name}",
            fix=f"set {key}_unit in params.yaml to s, ms or us",
        )
    lost = read.null_count() - column.null_count()
    if lost and lost == len(column) - column.null_count():
        raise InputError(
            f"no timestamp can be read, for example {column.drop_nulls()[0]!r}",
            where=f"{where}, column {column.name}",
            fix=f"use dates such as 2024-05-31 or 2024-05-31T18:30:00Z, or numbers with {key}_unit "
            "(s, ms, us) in params.yaml",
        )
    warn_lost(lost, column, where)
    return read.cast(TIME).alias(column.name)


def numbers(column: pl.Series, dtype: type[pl.DataType], *, where: str) -> pl.Series:
    """Numbers, from text without currency signs and thousands separators ("$1,299.00" is 1299).
    NaN and unreadable values become null."""
    if column.dtype == pl.String:
        plain = column.str.replace_all(r"[\s$€£¥,]", "")
        read = plain.cast(pl.Float64, strict=False)
        warn_lost(read.null_count() - plain.replace({"": None}).null_count(), column, where)
    else:
        read = column.cast(pl.Float64, strict=False)
    return read.fill_nan(None).cast(dtype).alias(column.name)


def attribute(column: pl.Series, *, text_numbers: bool = False) -> pl.Series:
    """An attribute of users or items: floats without NaN, other types as they are.

    Args:
        column: any type.
        text_numbers: the column was read as text from a file without types. It becomes Int64 or
            Float64 if every value is a number; it remains text if any value is a code such as
            01234, or an integer of more than 64 bits.
    """
    if column.dtype.is_float():
        return column.fill_nan(None)
    if not text_numbers or column.dtype != pl.String:
        return column
    plain = column.str.strip_chars().replace({"": None})
    if plain.null_count() == len(plain) or not plain.str.contains(_NUMBER).all():
        return column
    whole = not plain.str.contains(r"[.eE]").any()
    read = plain.cast(pl.Int64 if whole else pl.Float64, strict=False)
    return read if read.null_count() == plain.null_count() else column


def lists(column: pl.Series, separator: str) -> pl.Series:
    """Lists of texts; a text is split at `separator`. Empty entries are removed, an empty list
    becomes null."""
    if column.dtype == pl.String:
        parts = column.str.split(separator)
    elif isinstance(column.dtype, pl.List):
        parts = column.cast(pl.List(pl.String))
    else:
        parts = (
            column.cast(pl.String).reshape((-1, 1)).arr.to_list()
            if len(column)
            else column.cast(pl.List(pl.String))
        )
    element = pl.element().str.strip_chars()
    clean = parts.to_frame("list").select(
        pl.col("list").list.eval(element.filter(element.str.len_chars() > 0))
    )["list"]
    return (
        clean.to_frame("list")
        .select(pl.when(pl.col("list").list.len() > 0).then(pl.col("list")).alias(column.name))
        .to_series()
    )


def texts(column: pl.Series) -> pl.Series:
    """Texts without surrounding whitespace; the entries of a list are joined; an empty text becomes
    null."""
    plain = (
        column.cast(pl.List(pl.String)).list.join(" ")
        if isinstance(column.dtype, pl.List)
        else column.cast(pl.String)
    )
    return plain.str.strip_chars().replace({"": None}).alias(column.name)


def warn_lost(lost: int, column: pl.Series, where: str) -> None:
    """Log how many values of a column could not be read."""
    if lost > 0:
        log.warning(
            "%s: %s of %s values of column %s cannot be read and become null",
            where,
            f"{lost:,}",
            f"{len(column):,}",
            column.name,
        )


def _from_numbers(column: pl.Series, microseconds: int) -> pl.Series:
    if column.dtype.is_integer():
        exact = column.cast(pl.Int64, strict=False)
        limit = (2**62) // microseconds
        counted = (
            exact.to_frame("t")
            .select(pl.when(pl.col("t").abs() < limit).then(pl.col("t") * microseconds))
            .to_series()
        )
    else:
        value = column.cast(pl.Float64, strict=False).to_frame("t")
        counted = value.select(
            pl.when(pl.col("t").is_finite())
            .then((pl.col("t") * microseconds).round())
            .cast(pl.Int64, strict=False)
        ).to_series()
    return counted.cast(TIME)


def _from_texts(column: pl.Series) -> pl.Series:
    plain = (
        column.str.strip_chars()
        .str.replace(r"^(\d{4})[-/](\d{2})[-/](\d{2})[T ]?", "$1-$2-$3 ")
        .str.strip_chars()
    )
    read = [
        plain.str.to_datetime(
            form, strict=False, time_unit="us", time_zone=None if form.endswith("z") else "UTC"
        ).dt.convert_time_zone("UTC")
        for form in _FORMATS
    ]
    return pl.select(pl.coalesce(read)).to_series()
