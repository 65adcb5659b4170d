"""Convert columns of any type to canonical ones: ids, lists, texts, attributes. Rows are never
dropped. Numbers and times have modules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from augrec.core.errors import InputError
from augrec.data.importing.place import Place

_NUMBER: Final = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]\d+)?$"
"""A number as programs write it; 01234 and 12E4 are codes."""
_SCIENTIFIC: Final = r"^-?\d(\.\d+)?[eE]\+\d+$"
_MAX_EXPONENT: Final = 1e11
"""Spreadsheets show smaller numbers with all digits."""
_WHOLE_FLOAT: Final = r"^-?\d+\.0$"
_QUOTED_LIST: Final = r"""^\s*\[\s*(?:['"].*)?\]\s*$"""
_BRACKETS: Final = r"^\s*(?:\[.*\]|\{.*\})\s*$"
_ENTRY: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'",\s][^,]*"""
"""An entry of a list that was written as text, in either kind of quotes or in none."""

_NO_ENTRY: Final = {"None": None, "null": None}


def without_nulls(column: pl.Series, nulls: Sequence[str]) -> pl.Series:
    """Text without blank values and those that mean null; other types as they are."""
    if column.dtype != pl.String:
        return column
    missing = column.str.strip_chars().is_in(["", *nulls])
    return column.set(missing.fill_null(False), None)


def ids(column: pl.Series, place: Place, *, text_numbers: bool = False) -> pl.Series:
    """Ids as strings: 5 and 5.0 become "5"; missing and NaN ids become null.

    Args:
        column: any scalar type.
        place: the table, for messages.
        text_numbers: the column was read as text from a file without types. "5.0" then becomes "5"
            if every id of the column has this form: many programs write integer ids like this if
            some are missing.

    Raises:
        InputError: the type cannot be ids, or the ids were rounded by floating-point arithmetic.
    """
    if column.dtype.is_nested() or column.dtype == pl.Binary or column.dtype.is_object():
        raise InputError(
            f"a column of type {column.dtype} cannot be used as ids",
            where=place.column(column.name),
            fix="map a column of texts or integers; convert binary ids to text in a query",
        )
    if column.dtype.is_float():
        return _ids_from_floats(column, place)
    if column.dtype.is_decimal():
        return column.cast(pl.String).str.replace(r"\.0+$", "")
    texts = column.cast(pl.String).str.strip_chars()
    if not text_numbers:
        return texts
    if texts.str.contains("e+", literal=True).any() or texts.str.contains("E+", literal=True).any():
        texts = _without_exponents(texts, place)
    if texts.drop_nulls().str.contains(_WHOLE_FLOAT).all():
        _ids_from_floats(texts.cast(pl.Float64), place)
        texts = texts.str.replace(r"\.0$", "")
    return texts


def _without_exponents(texts: pl.Series, place: Place) -> pl.Series:
    """R writes the id 900000 as 9e+05; a spreadsheet writes long ids so, and loses digits."""
    read = texts.cast(pl.Float64, strict=False)
    if read.null_count() > texts.null_count():
        return texts  # names, not numbers
    scientific = texts.str.contains(_SCIENTIFIC)
    rounded = scientific & (read.abs() >= _MAX_EXPONENT)
    if rounded.any():
        _refuse_rounded(rounded, texts, place)
    return texts.zip_with(~scientific, read.cast(pl.Int64, strict=False).cast(pl.String))


def _ids_from_floats(column: pl.Series, place: Place) -> pl.Series:
    whole = column.cast(pl.Int64, strict=False)
    is_whole = (column == column.round()) & column.is_finite()
    exact = 2**24 if column.dtype == pl.Float32 else 2**53  # below it a float is one integer alone
    rounded = is_whole & (column.abs() >= exact)
    if rounded.any():
        _refuse_rounded(rounded, column, place)
    return (
        pl.DataFrame({"float": column, "whole": whole, "is_whole": is_whole})
        .select(
            pl.when(pl.col("float").is_finite())
            .then(
                pl.when("is_whole")
                .then(pl.col("whole").cast(pl.String))
                .otherwise(pl.col("float").cast(pl.String))
            )
            .alias(column.name)
        )
        .to_series()
    )


def _refuse_rounded(rounded: pl.Series, column: pl.Series, place: Place) -> None:
    raise InputError(
        f"ids were turned into floating-point numbers, and {place.first(rounded, column)} has more "
        "digits than these hold: different ids may have become one",
        where=place.column(column.name),
        fix="export them as integers or text; pandas makes floats of integers where some are "
        "missing: read them with dtype='Int64' or str",
    )


def attribute(column: pl.Series, place: Place, *, text_numbers: bool = False) -> pl.Series:
    """An attribute of users or items: floats without NaN, other types as they are.

    Args:
        column: any type.
        place: the table, for messages.
        text_numbers: the column was read as text from a file without types. It becomes Int64 or
            Float64 if every value is a number; it remains text if any value is a code such as
            01234, or an integer of more than 64 bits.

    Raises:
        InputError: the values are bytes.
    """
    if column.dtype == pl.Binary or column.dtype.is_object():
        raise InputError(
            f"a column of type {column.dtype} cannot be an attribute",
            where=place.column(column.name),
            fix=f"remove it from {place.section}.extra, or convert it to text or numbers",
        )
    if column.dtype.is_decimal():
        column = column.cast(pl.Float64)
    if column.dtype.is_float():
        return column.fill_nan(None)
    if not text_numbers or column.dtype != pl.String:
        return column
    plain = column.str.strip_chars()
    if plain.null_count() == len(plain) or not plain.str.contains(_NUMBER).all():
        return column
    whole = not plain.str.contains(r"[.eE]").any()
    read = plain.cast(pl.Int64 if whole else pl.Float64, strict=False)
    return read if read.null_count() == plain.null_count() else column


def lists(column: pl.Series, separator: str) -> pl.Series:
    """Lists of texts; a text is split at `separator`, or read if it is a list written as text, such
    as "['Action', 'Crime']". Empty entries are removed, an empty list becomes null."""
    kind = column.dtype
    if kind == pl.String:
        parts = _split(column, separator)
    elif isinstance(kind, pl.List) and not kind.inner.is_nested():
        parts = column.cast(pl.List(pl.String))
    elif kind.is_nested():
        raise InputError(
            f"a column of type {kind} is not a list of texts",
            where=f"column {column.name}",
            fix="map a list of texts, or a text with separators",
        )
    else:
        parts = column.cast(pl.String).to_frame().select(pl.concat_list(column.name)).to_series()
    entries = pl.element().str.strip_chars()
    clean = pl.col("list").list.eval(entries.filter(entries.str.len_chars() > 0))
    return (
        parts.to_frame("list")
        .select(clean)
        .select(pl.when(pl.col("list").list.len() > 0).then("list").alias(column.name))
        .to_series()
    )


def _split(column: pl.Series, separator: str) -> pl.Series:
    # brackets without quotes may be part of a name, unless every value has them
    every = column.str.contains(_BRACKETS).all(ignore_nulls=True)
    written = pl.col("text").str.contains(_BRACKETS if every else _QUOTED_LIST)
    entry = pl.element()
    quote = entry.str.head(1).is_in(["'", '"'])
    inner = entry.str.slice(1).str.head(-1).str.replace_all(r"\\(.)", "$1")
    return (
        column.to_frame("text")
        .select(
            pl.when(written)
            .then(
                pl.col("text")
                .str.strip_chars()
                .str.slice(1)
                .str.head(-1)
                .str.extract_all(_ENTRY)
                .list.eval(pl.when(quote).then(inner).otherwise(entry.replace(_NO_ENTRY)))
            )
            .otherwise(pl.col("text").str.split(separator))
            .alias(column.name)
        )
        .to_series()
    )


def texts(column: pl.Series) -> pl.Series:
    """Texts without surrounding whitespace; the entries of a list are joined; an empty text becomes
    null."""
    plain = (
        column.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        if isinstance(column.dtype, pl.List)
        else column.cast(pl.String)
    )
    return plain.str.strip_chars().replace({"": None}).alias(column.name)
