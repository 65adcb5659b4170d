"""Split lines into fields, with and without quotes; refuse lines that do not have the fields of the
header."""

from __future__ import annotations

import io
import re
from typing import Final, NamedTuple

import polars as pl

from augrec.core.errors import InputError
from augrec.data.importing.place import Place

_STRICT: Final = r'"(?:[^"]|"")*"|[^"{s}\n]*'
"""A field as RFC 4180 has it; {s} is the separator."""
_LOOSE: Final = r'"(?:[^"]|"")*"|[^"{s}][^{s}]*|'
"""Also with quotes inside a text that is not in quotes: 5" disk."""
_BACKSLASH: Final = r'"(?:[^"\\]|\\.)*"|[^"{s}][^{s}]*|'
"""A quote inside quotes has a backslash before it, as Spark and MySQL write it."""

LINE, NUMBER = pl.col("line"), pl.col("number")


class Lines(NamedTuple):
    """The lines of a file below its header.

    Attributes:
        table: columns `line`, text, and `number`, its place in the file; no blank lines.
        separator: one character; for `split_plain` also several.
        width: the number of fields of the header.
        place: the file, for messages.
    """

    table: pl.DataFrame
    separator: str
    width: int
    place: Place


class Rows(NamedTuple):
    """The fields of each row.

    Attributes:
        fields: columns field_0, field_1, …, all text; empty fields are empty texts or null.
        numbers: the number of the line where each row begins.
    """

    fields: pl.DataFrame
    numbers: pl.Series


def split_plain(lines: Lines) -> Rows:
    """Split at every separator; a quote is a character as any other.

    Raises:
        InputError: a line has more or fewer fields than the header.
    """
    found = lines.table.select(_separators(lines) + 1).to_series()
    if (found != lines.width).any():
        position = int((found != lines.width).arg_max() or 0)
        _refuse(
            lines,
            lines.table.row(position),
            f"has {found[position]} fields instead of {lines.width}",
            others=int((found != lines.width).sum()) - 1,
        )
    cut = LINE.str.split_exact(lines.separator, lines.width - 1)
    cut = cut.struct.rename_fields(_names(lines))
    return Rows(lines.table.select(cut.alias("fields")).unnest("fields"), lines.table["number"])


def split_quoted(lines: Lines, *, spans_lines: bool) -> Rows:
    """Split where separators stand outside of quotes.

    Args:
        lines: the lines, with a separator of one character.
        spans_lines: a text in quotes may hold lines that would be whole rows on their own;
            otherwise they are refused, because a stray quote may have swallowed them.

    Raises:
        InputError: a line has more or fewer fields than the header, or its quotes have no clear
            meaning.
    """
    if (rows := split_strict(lines)) is not None:
        return rows
    text, numbers = lines.table["line"], lines.table["number"]
    for form, escaped in ((_LOOSE, '""'), (_BACKSLASH, r"\"")):
        if _matches(text, lines, form).all():
            return Rows(_extract(text, lines, form, escaped), numbers)
    records = _records(lines)
    whole = _matches(records["line"], lines, _STRICT)
    if not whole.all():
        line, number = records.select("line", "number").row(int(whole.arg_min() or 0))
        _refuse(lines, (line, number), _fault(line, lines), others=int((~whole).sum()) - 1)
    if not spans_lines:
        _refuse_swallowed(records, lines)
    return Rows(_read_strict(records["line"], lines), records["number"])


def split_strict(lines: Lines) -> Rows | None:
    """As `split_quoted`, if every line is a row of its own with quotes as RFC 4180 has them; None:
    one is not."""
    text = lines.table["line"]
    if not _matches(text, lines, _STRICT).all():
        return None
    return Rows(_read_strict(text, lines), lines.table["number"])


def _records(lines: Lines) -> pl.DataFrame:
    """Lines joined to rows: a row ends with the first line after which no quote is open.

    Returns:
        Columns line, number (of the first line), last (number of the last), alike (each of its
        lines has as many separators as the header).
    """
    quotes = LINE.str.count_matches('"', literal=True)
    open_before = (quotes.cum_sum() - quotes) % 2
    return (
        lines.table.with_columns(
            record=(open_before == 0).cum_sum(), alike=_separators(lines) == lines.width - 1
        )
        .group_by("record", maintain_order=True)
        .agg(
            LINE.str.join("\n"), NUMBER.first(), NUMBER.last().alias("last"), pl.col("alike").all()
        )
    )


def _refuse_swallowed(records: pl.DataFrame, lines: Lines) -> None:
    swallowed = records.filter((pl.col("last") > NUMBER) & pl.col("alike"))
    if swallowed.is_empty():
        return
    line, first, last = swallowed.select("line", "number", "last").row(0)
    raise InputError(
        f"a quote opens in line {first:,} and closes in line {last:,}, though each of these lines "
        f"has the {lines.width} fields of a row: {_shown(line)}",
        where=lines.place.where,
        fix=lines.place.advise(
            f"correct the quotes of line {first:,}",
            quoted="true if the text does go over these lines, to false if quotes have no meaning "
            "in this file",
        ),
    )


def _fault(line: str, lines: Lines) -> str:
    first = line.split("\n", 1)[0]
    fields = len(re.findall(_pattern(lines, _LOOSE), first))
    if re.fullmatch(f"(?:{_pattern(lines, _LOOSE)})*", first) and fields != lines.width:
        return f"has {fields} fields instead of {lines.width}"
    return "has a quote that does not close, or text after a quote that closes"


def _refuse(lines: Lines, row: tuple[str, int], fault: str, *, others: int) -> None:
    line, number = row
    again = f" (and {others:,} more lines)" if others else ""
    raise InputError(
        f"line {number:,} {fault}: {_shown(line)}{again}",
        where=lines.place.where,
        fix=lines.place.advise(
            "correct the line: a text with a separator, quote or line break stands in quotes, and "
            "the quotes in it are doubled",
            quoted="true or false if quotes are read in the wrong way",
            separator="the right one if columns are cut in the wrong places",
        ),
    )


def _shown(line: str) -> str:
    first = line.split("\n", 1)[0]
    return repr(first if len(first) <= 80 else f"{first[:77]}...")


def _separators(lines: Lines) -> pl.Expr:
    return LINE.str.count_matches(lines.separator, literal=True).cast(pl.Int64)


def _names(lines: Lines) -> list[str]:
    return [f"field_{n}" for n in range(lines.width)]


def _escaped(separator: str) -> str:
    return r"\t" if separator == "\t" else re.escape(separator)


def _pattern(lines: Lines, field: str) -> str:
    """A field with the separator before it, if there is one."""
    s = _escaped(lines.separator)
    return f"(?:^|{s})(?:{field.format(s=s)})"


def _matches(text: pl.Series, lines: Lines, field: str) -> pl.Series:
    s = _escaped(lines.separator)
    one = f"(?:{field.format(s=s)})"
    return text.str.contains(f"^{one}(?:{s}{one}){{{lines.width - 1}}}$")


def _read_strict(text: pl.Series, lines: Lines) -> pl.DataFrame:
    joined = io.BytesIO()
    text.to_frame().write_csv(joined, include_header=False, quote_style="never")
    joined.seek(0)
    table = pl.read_csv(
        joined,
        has_header=False,
        separator=lines.separator,
        infer_schema=False,
        new_columns=_names(lines),
    )
    assert table.shape == (len(text), lines.width), "every line was checked"
    return table


def _extract(text: pl.Series, lines: Lines, field: str, escaped: str) -> pl.DataFrame:
    parts = text.str.extract_all(_pattern(lines, field)).list.to_struct(fields=_names(lines))
    # all but the first with the separator before them
    columns = parts.struct.unnest().with_columns(pl.exclude("field_0").str.slice(1))
    inner = pl.all().str.head(-1).str.slice(1).str.replace_all(escaped, '"', literal=True)
    return columns.select(pl.when(pl.all().str.starts_with('"')).then(inner).otherwise(pl.all()))
