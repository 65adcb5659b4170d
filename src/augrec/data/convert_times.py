"""Times in UTC from dates, texts and numbers since 1970."""

from __future__ import annotations

from typing import Final

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import TIME
from augrec.data.importing.place import Place

UNITS: Final = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
"""Microseconds in one unit."""

_QUICK: Final = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%dT%H:%M:%S%.fZ",
)
"""Frequent forms of ISO 8601, which are read faster than the others."""
_ISO: Final = (
    r"^\s*(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:(?:\s+|T)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r"\s*(?:(Z|UTC|GMT)|([+-]\d{2}):?(\d{2})?)?(?:\[[^\]]+\])?)?\s*$"
)
"""ISO 8601; Java writes the name of the zone behind its offset."""
_PARTS: Final = (
    *("year", "month", "day", "hour", "minute", "second", "fraction"),
    *("utc", "zone_hour", "zone_minute"),
)
"""The groups of `_ISO`."""
_DATES: Final = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y"),
)
_CLOCKS: Final = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_OTHERS: Final = (
    *(date + clock for clock in _CLOCKS for date in _DATES),
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%d%H%M%S",
)
"""Formats that are proposed where a date is none of ISO 8601."""
_PLAUSIBLE: Final = (3.1e14, 4.8e15)
"""Microseconds since 1970: the middle time of a table lies between 1980 and 2122."""


def times(
    column: pl.Series, place: Place, *, unit: str | None = None, format: str | None = None
) -> pl.Series:
    """UTC times from dates, ISO 8601 texts (UTC if they have no zone), or numbers since 1970.

    Args:
        column: the values.
        place: the table, for messages.
        unit: of numbers, also in text form: s, ms, us or ns; None: the values are dates.
        format: of texts, or of integers such as 20240131; None: ISO 8601.

    Raises:
        ConfigError: the format is not possible.
        InputError: no value can be read, or the unit cannot be right; the message names the key of
            params.yaml. If only some cannot be read, they become null, and validation quarantines
            those rows.
    """
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        read = _typed(column)
    elif column.null_count() == len(column):
        read = pl.Series([None] * len(column), dtype=TIME)
    elif format is not None:
        read = _formatted(column.cast(pl.String), format, place)
    elif unit is not None:
        read = _counted(column, unit, place)
    elif column.dtype == pl.String:
        read = _iso(column)
    else:
        raise InputError(
            f"the timestamps are numbers ({column.drop_nulls()[0]}, …), but their unit is not set",
            where=place.column(column.name),
            fix=_advice(column, place),
        )
    lost = read.is_null() & column.is_not_null()
    if lost.any() and read.null_count() == len(read):
        raise InputError(
            f"no timestamp can be read, for example {place.first(lost, column)}",
            where=place.column(column.name),
            fix=_advice(column, place),
        )
    place.warn_unreadable(lost, column, "timestamp")
    return read.cast(TIME).alias(column.name)


def _typed(column: pl.Series) -> pl.Series:
    zone = getattr(column.dtype, "time_zone", None)
    read = column.cast(pl.Datetime("us", zone))
    return read.dt.convert_time_zone("UTC") if zone else read.dt.replace_time_zone("UTC")


def _formatted(column: pl.Series, format: str, place: Place) -> pl.Series:
    try:
        return _parsed(column, format)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(
            f"{format!r} is not a format of dates: {str(error).splitlines()[0]}",
            where=f"params.yaml, {place.section}.timestamp_format",
            fix='write it with %Y %m %d %H %M %S and %z for a zone, such as "%d.%m.%Y %H:%M"',
        ) from error


def _parsed(column: pl.Series, format: str) -> pl.Series:
    zoned = "%z" in format or "%#z" in format or "%:z" in format
    read = column.str.strip_chars().str.to_datetime(
        format, strict=False, time_unit="us", time_zone=None if zoned else "UTC"
    )
    return read.dt.convert_time_zone("UTC")


def _counted(column: pl.Series, unit: str, place: Place) -> pl.Series:
    exact = column.cast(pl.Int64, strict=False)
    factor = UNITS[unit]
    if column.dtype.is_float() or exact.null_count() > column.null_count():
        value = column.cast(pl.Float64, strict=False).to_frame("t")
        counted = value.select(
            pl.when(pl.col("t").is_finite()).then((pl.col("t") * factor).round())
        )
    else:
        value = exact.to_frame("t")
        scaled = pl.col("t") * int(factor) if factor >= 1 else pl.col("t") // int(1 / factor)
        counted = value.select(pl.when(pl.col("t").abs() < 2**62 / factor).then(scaled))
    read = counted.to_series().cast(pl.Int64, strict=False).cast(TIME)
    likely = _likely_units(column)
    if likely and unit not in likely:
        raise InputError(
            f"read as {unit}, the timestamps lie about the year {_year(read)}: "
            f"{column.drop_nulls()[0]} is in another unit",
            where=place.column(column.name),
            fix=_advice(column, place),
        )
    return read


def _iso(column: pl.Series) -> pl.Series:
    read = pl.Series([None] * len(column), dtype=pl.Datetime("us", "UTC"))
    for format in _QUICK:
        if read.null_count() == column.null_count():
            return read
        rest = column.filter(read.is_null())
        if _parsed(rest.drop_nulls().head(1), format).null_count() == 0:
            read = _filled(read, _parsed(rest, format))
    if read.null_count() > column.null_count():
        read = _filled(read, _any_iso(column.filter(read.is_null())))
    return read


def _filled(read: pl.Series, rest: pl.Series) -> pl.Series:
    """`read` with its nulls replaced by `rest`, in order."""
    return rest if len(rest) == len(read) else read.scatter(read.is_null().arg_true(), rest)


def _any_iso(column: pl.Series) -> pl.Series:
    """ISO 8601 in all its lengths, brought to one form."""
    parts = column.str.extract_groups(_ISO).struct.unnest()
    parts.columns = list(_PARTS)
    two = {name: pl.col(name).fill_null("0").str.zfill(2) for name in parts.columns}
    text = pl.format(
        "{}-{}-{} {}:{}:{}.{}{}{}",
        "year",
        two["month"],
        two["day"],
        two["hour"],
        two["minute"],
        two["second"],
        pl.col("fraction").fill_null("0").str.pad_end(9, "0"),
        pl.col("zone_hour").fill_null("+00"),
        two["zone_minute"],
    )
    return _parsed(parts.select(text.alias("text"))["text"], "%Y-%m-%d %H:%M:%S%.f%z")


def _likely_units(column: pl.Series) -> list[str]:
    """The units in which the middle of the numbers is a time of our days."""
    middle = column.cast(pl.Float64, strict=False).median()
    if not isinstance(middle, float):
        return []
    low, high = _PLAUSIBLE
    return [unit for unit, factor in UNITS.items() if low < middle * factor < high]


def _year(read: pl.Series) -> str:
    middle = read.cast(pl.Int64).median()
    return f"{1970 + middle / 3.15576e13:.0f}" if isinstance(middle, float) else "unknown"


def _advice(column: pl.Series, place: Place) -> str:
    """The settings with which the values can be read."""
    sample = column.drop_nulls().cast(pl.String).head(10_000).str.strip_chars()
    formats = [f'"{format}"' for format in _OTHERS if _parsed(sample, format).null_count() == 0]
    settings = {}
    if units := _likely_units(column):
        settings["timestamp_unit"] = " or ".join(units)
    if formats:
        settings["timestamp_format"] = " or ".join(formats)
    if settings:
        return place.advise("", **settings)
    return place.advise(
        "use dates such as 2024-05-31 or 2024-05-31T18:30:00Z",
        timestamp_unit="s, ms, us or ns for numbers",
        timestamp_format='the format of other dates, such as "%d.%m.%Y %H:%M"',
    )
