"""Read text files of separated columns: every line is accounted for or refused with its number.

The reader of polars fills short lines with nulls and lets a quote swallow lines; so lines are
checked before they are split, which takes a third of the time of reading.
"""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data.config import TextFormat
from augrec.data.importing.place import Place
from augrec.data.importing.quoting import Lines, Rows, split_plain, split_quoted

_SEPARATORS: Final = ",;\t|"
_MARKS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte order marks of encodings other than UTF-8."""


ATOMIC: Final = TextFormat(separator="\t", quoted=False)
"""Atomic files, whose header names the type of each column after a colon."""
ATOMIC_ENDINGS: Final = (".inter", ".item", ".user")


class DelimitedText(NamedTuple):
    """A text file that was read.

    Attributes:
        table: all columns as text; a second column `x` is called `x (2)`.
        numbers: the line where each row begins, counted from 1.
    """

    table: pl.DataFrame
    numbers: pl.Series


def read_delimited(path: Path, form: TextFormat, place: Place) -> DelimitedText:
    """Read a text file with a header.

    Args:
        path: plain or gzipped.
        form: separator, quotes and encoding; those that are None are found out.
        place: the file, for messages.

    Raises:
        InputError: the encoding is not UTF-8 and not given, a line has another number of fields
            than the header, or quotes could be read in two ways.
    """
    lines = read_lines(path, form.encoding, place)
    layout = Layout.of(path, lines, form)
    body = Lines(lines[layout.n_head :], layout.separator, len(layout.names), place)
    if layout.quoted and body.table["line"].str.contains('"', literal=True).any():
        rows = split_quoted(body, spans_lines=bool(form.quoted))
    else:
        rows = split_plain(body)
    return layout.named(rows)


class Layout(NamedTuple):
    """How a text file is written, as its first lines and the settings say.

    Attributes:
        separator: of columns.
        quoted: texts may stand in double quotes.
        names: of the columns; a second `x` is called `x (2)`.
        n_head: the number of lines before the first row.
    """

    separator: str
    quoted: bool
    names: list[str]
    n_head: int

    @classmethod
    def of(cls, path: Path, lines: pl.DataFrame, form: TextFormat) -> Layout:
        """From the lines that the file begins with, see `read_lines`."""
        head, n_head = lines["line"][0].removeprefix("\ufeff"), 1
        if given := re.fullmatch(r'"?sep=(.)"?', head):  # spreadsheets name the separator first
            form = form.model_copy(update={"separator": form.separator or given[1]})
            head, n_head = lines["line"][1] if len(lines) > 1 else "", 2
        atomic = path.name.removesuffix(".gz").endswith(ATOMIC_ENDINGS)
        form = form.model_copy(update={"separator": "\t", "quoted": False}) if atomic else form
        separator = form.separator or _separator(path, head)
        # without quotes in its header, quotes of a tab-separated file are taken as characters
        quoted = form.quoted if form.quoted is not None else separator != "\t" or head[:1] == '"'
        header = next(csv.reader([head], delimiter=separator)) if quoted else head.split(separator)
        names = [(name.partition(":")[0] if atomic else name).strip() for name in header]
        return cls(separator, quoted, unique_names(names), n_head)

    def named(self, rows: Rows) -> DelimitedText:
        """Rows whose columns have their names."""
        names = dict(zip(rows.fields.columns, self.names, strict=True))
        return DelimitedText(rows.fields.rename(names), rows.numbers)


def read_lines(path: Path, encoding: str | None, place: Place) -> pl.DataFrame:
    """The lines of a text file that are not blank; the first may begin with a byte order mark.

    Args:
        path: plain or gzipped.
        encoding: None: UTF-8, or what the byte order mark says.
        place: the file, for messages.

    Returns:
        Columns line, text, and number, counted from 1.

    Raises:
        ConfigError: there is no such encoding.
        InputError: the file has no lines, or another encoding.
    """
    try:
        lines = _lines(path, encoding, place)
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=place.where,
            fix="it may be incomplete; export it again",
        ) from error
    if not (filled := lines["line"].str.contains(r"\S")).all():
        lines = lines.filter(filled)
    if lines.is_empty():
        raise InputError("the file is empty", where=place.where, fix="export it again")
    return lines.select("line", "number")


def _lines(path: Path, encoding: str | None, place: Place) -> pl.DataFrame:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        start = file.read(1 << 16)
    encoding = encoding or _MARKS.get(start[:2])
    source: Path | bytes = path
    if encoding or (b"\r" in start and b"\n" not in start):  # rare: read whole
        source = _decoded(path, encoding or "utf-8", place).encode()
        source = source if b"\n" in source else source.replace(b"\r", b"\n")
    try:
        return pl.read_lines(source, name="line", row_index_name="number", row_index_offset=1)
    except pl.exceptions.PolarsError:
        _decoded(path, "utf-8", place)  # says which line is not UTF-8
        raise


def unique_names(header: list[str]) -> list[str]:
    """The names, a second `x` as `x (2)`."""
    seen: dict[str, int] = {}
    names = []
    for name in header:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _separator(path: Path, head: str) -> str:
    """The most frequent separator of the header; a comma if it has none."""
    return "\t" if ".tsv" in path.suffixes else max(_SEPARATORS, key=head.count)


def _decoded(path: Path, encoding: str, place: Place) -> str:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"there is no encoding {encoding!r}",
            where=f"params.yaml, {place.section}.encoding",
            fix="write utf-8, windows-1252, iso-8859-1, utf-16, shift_jis, …",
        ) from error
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        line = data.split(b"\n")[number - 1][:80]
        raise InputError(
            f"line {number:,} is not {encoding.upper()}: {line!r}",
            where=place.where,
            fix=place.advise(
                "export it as UTF-8",
                encoding="the one it was written in, such as windows-1252",
            ),
        ) from error
