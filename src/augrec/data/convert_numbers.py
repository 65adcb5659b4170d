"""Numbers from text: with decimal points or commas, thousands separators and currency signs.

Whether "1,299" is a little more than one or more than a thousand, only the other values of its
column can tell; where they do not, the column is refused.
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from augrec.core.errors import InputError
from augrec.data.importing.place import Place

_AROUND: Final = r"^[\s\p{Sc}]+|[\s\p{Sc}]+$"
_SIGN: Final = r"^([+-])[\s\p{Sc}]+"
"""A sign before a currency sign: -$5."""
_GROUP: Final = r"[\s\x{a0}\x{202f}'’]"
"""Thousands separators that are never decimal ones."""


def _grouped(thousands: str) -> str:
    """An integer, plain or in groups; India's first groups have two digits."""
    return rf"(?:\d+|[1-9]\d{{0,2}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}})"


def _form(thousands: str, decimal: str) -> str:
    whole = rf"(?:{_grouped(thousands)}|{_grouped(_GROUP)})"
    return rf"^[+-]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?$"


_FORMS: Final = {".": _form(",", r"\."), ",": _form(r"\.", ",")}
_OPEN: Final = r"^\s*[+-]?[1-9]\d{0,2}(\.\d{3})+\s*$"
"""With a decimal point, or a point between thousands."""


def numbers(
    column: pl.Series,
    dtype: type[pl.DataType],
    place: Place,
    decimal: Literal[".", ","] | None = None,
) -> pl.Series:
    """A column as numbers. NaN, infinities, and values that are no numbers become null.

    Args:
        column: numbers or text.
        dtype: of the result.
        place: the table, for messages.
        decimal: the decimal separator of text; None: the column shows it.

    Raises:
        InputError: text whose decimal separator is open, or differs between rows, or that holds no
            number at all.
    """
    if column.dtype == pl.String:
        read = _from_text(column, place, decimal)
    else:
        read = column.cast(pl.Float64, strict=False)
    _warn_lost(read, column, place)
    finite = read.is_finite().fill_null(False)
    return read.set(~finite, None).cast(dtype).alias(column.name)


def _from_text(column: pl.Series, place: Place, decimal: Literal[".", ","] | None) -> pl.Series:
    for separator in (".", ",") if decimal is None else (decimal,):
        if (read := plain_numbers(column, separator, known=decimal is not None)) is not None:
            return read
    plain = column.str.replace_all(_AROUND, "").str.replace(_SIGN, "$1").replace({"": None})
    fits = {separator: plain.str.contains(form) for separator, form in _FORMS.items()}
    chosen = decimal or _decimal(plain, fits, column, place)
    number = plain.str.replace_all(rf"{_GROUP}|{'[.]' if chosen == ',' else ','}", "")
    number = number.str.replace(",", ".", literal=True)
    return number.set(~fits[chosen].fill_null(True), None).cast(pl.Float64, strict=False)


def plain_numbers(column: pl.Series, separator: str, *, known: bool) -> pl.Series | None:
    """Numbers as programs write them, without thousands separators; None: this column is not so, or
    not surely."""
    if separator == "," and column.str.contains(".", literal=True).any():
        return None
    pointed = column.str.replace(separator, ".", literal=True) if separator == "," else column
    read = pointed.cast(pl.Float64, strict=False)
    if read.null_count() != column.null_count():
        return None
    fractions = pointed.filter(pointed.str.contains(".", literal=True))
    sure = known or fractions.is_empty() or not fractions.str.contains(_OPEN).all()
    return read if sure else None


def _decimal(
    plain: pl.Series, fits: dict[str, pl.Series], column: pl.Series, place: Place
) -> Literal[".", ","]:
    """The decimal separator with which the column makes sense.

    A value decides if it is a number with one of the two alone. Where nothing decides, values that
    read the same either way (integers) do no harm.
    """
    point = fits["."] & ~fits[","]
    comma = fits[","] & ~fits["."]
    if point.any() and comma.any():
        raise InputError(
            f"decimal points and decimal commas are mixed: {place.first(point, column)}, "
            f"{place.first(comma, column)}",
            where=place.column(column.name),
            fix=place.advise("", decimal='"." or ","; numbers in the other form become null'),
        )
    if comma.any():
        return ","
    either = fits["."] & fits[","] & plain.str.contains("[.,]")
    if either.any() and not point.any():
        raise InputError(
            f"{place.first(either, column)} is a number with a thousands separator or with three "
            "decimals, and no other value tells which",
            where=place.column(column.name),
            fix=place.advise("", decimal='"." or ","'),
        )
    return "."


def _warn_lost(read: pl.Series, column: pl.Series, place: Place) -> None:
    lost = (read.is_null() & column.is_not_null()) | read.is_infinite().fill_null(False)
    if lost.any() and column.dtype == pl.String:
        lost &= column.str.contains(r"\S").fill_null(False)
    if lost.any() and not read.is_finite().any():
        raise InputError(
            f"no value is a number, for example {place.first(lost, column)}",
            where=place.column(column.name),
            fix=place.advise("map a column of numbers, or null", decimal="the other separator"),
        )
    place.warn_unreadable(lost, column, "number")
