"""Read a large table a block of rows at a time, where that gives what reading it whole gives.

A text file is cut after a line break, so it must have no text that goes over several lines; which
it has, its quotes say. Parquet files are read by ranges of rows. Databases answer with all rows.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.errors import InputError
from augrec.core.files import check_parquet
from augrec.data.config import TextFormat
from augrec.data.importing.delimited import DelimitedText, Layout
from augrec.data.importing.folders import data_files, partition_values
from augrec.data.importing.nested import flatten
from augrec.data.importing.place import PlaceInBlocks
from augrec.data.importing.quoting import Lines, split_plain, split_strict
from augrec.data.importing.source import TEXT_ENDINGS, Source, SourceTable
from augrec.data.sql import is_url

LARGE_BYTES: Final = 2**26
"""Smaller tables are read whole."""
_PACKED: Final = 5
"""A gzipped text file or a Parquet file holds about this many times its bytes of text."""
_BLOCK_BYTES: Final = 2**24
_BLOCK_ROWS: Final = 2**18


class WholeOnlyError(Exception):
    """The table has to be read whole: what a row means depends on others."""


def text_bytes(source: Source) -> int:
    """About the bytes that a table has as text; 0 for a database, which does not say."""
    if is_url(source.location):
        return 0
    path = Path(source.location)
    if not path.exists():
        return 0
    files = data_files(path) if path.is_dir() else [path]
    return sum(_PACKED ** (not _is_plain(file)) * file.stat().st_size for file in files)


def read_blocks(source: Source, form: TextFormat, place: PlaceInBlocks) -> Iterator[SourceTable]:
    """The table in blocks of rows, in its order, each as `read_source` gives it.

    Args:
        source: files.
        form: how it is written.
        place: the table; each block has one of its own, that shares its notes.

    Raises:
        WholeOnlyError: it cannot be read so.
        InputError: a file is incomplete or damaged, or a line has another number of fields than the
            header.
    """
    path = Path(source.location)
    columns: list[str] | None = None
    for file in data_files(path) if path.is_dir() else [path]:
        of_file = replace(place, where=str(file))
        text = file.name.endswith(TEXT_ENDINGS)
        values = partition_values(file, path) if path.is_dir() else {}
        literals = [pl.lit(value, pl.String).alias(name) for name, value in values.items()]
        for table, row in _of_text(file, form, of_file) if text else _of_parquet(file, of_file):
            if columns is not None and table.columns != columns:
                raise WholeOnlyError("its files have different columns")
            columns = table.columns
            named = replace(of_file, row=row)
            yield SourceTable(table.with_columns(literals), text, named)


def _is_plain(file: Path) -> bool:
    return file.name.endswith(TEXT_ENDINGS) and file.suffix != ".gz"


class _Row:
    """Names the rows of a block."""

    def __init__(self, word: str, numbers: pl.Series) -> None:
        self._word, self._numbers = word, numbers

    def __call__(self, position: int) -> str:
        return f"{self._word} {self._numbers[position]:,}"


def _of_parquet(file: Path, place: PlaceInBlocks) -> Iterator[tuple[pl.DataFrame, _Row]]:
    fix = "it may be damaged, incomplete or not be Parquet; export it again"
    try:
        check_parquet(file)
        table = pl.scan_parquet(file, hive_partitioning=False)
        n_rows = table.select(pl.len()).collect().item()
        for begin in range(0, n_rows, _BLOCK_ROWS):
            block = flatten(table.slice(begin, _BLOCK_ROWS).collect())
            numbers = pl.int_range(begin + 1, begin + 1 + len(block), eager=True)
            yield block, _Row("row", numbers)
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        problem = f"the file cannot be read: {str(error).splitlines()[0]}"
        raise InputError(problem, where=place.where, fix=fix) from error


def _of_text(
    file: Path, form: TextFormat, place: PlaceInBlocks
) -> Iterator[tuple[pl.DataFrame, _Row]]:
    if form.encoding and form.encoding.lower().replace("-", "") != "utf8":
        raise WholeOnlyError(f"its encoding is {form.encoding}")
    layout: Layout | None = None
    number = 1
    for block in _whole_lines(file, place):
        lines = _lines(block, number)
        number += len(lines)
        lines = lines.filter(pl.col("line").str.contains(r"\S"))
        if lines.is_empty():
            continue
        if layout is None:
            layout = Layout.of(file, lines, form)
            lines = lines[layout.n_head :]
        found = _split(layout, Lines(lines, layout.separator, len(layout.names), place))
        yield found.table, _Row("line", found.numbers)


def _split(layout: Layout, lines: Lines) -> DelimitedText:
    if not (layout.quoted and lines.table["line"].str.contains('"', literal=True).any()):
        return layout.named(split_plain(lines))
    if (rows := split_strict(lines)) is None:
        raise WholeOnlyError("it has quotes inside texts, or texts that go over several lines")
    return layout.named(rows)


def _lines(block: bytes, number: int) -> pl.DataFrame:
    try:
        return pl.read_lines(
            block, name="line", row_index_name="number", row_index_offset=number
        ).select("line", "number")
    except pl.exceptions.PolarsError as error:
        raise WholeOnlyError("it is not UTF-8") from error


def _whole_lines(file: Path, place: PlaceInBlocks) -> Iterator[bytes]:
    """The file in blocks that end with a line."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            rest = b""
            while data := stream.read(_BLOCK_BYTES):
                cut = data.rfind(b"\n") + 1
                if cut:
                    yield rest + data[:cut]
                    rest = data[cut:]
                else:
                    rest += data
                if len(rest) > 4 * _BLOCK_BYTES:
                    raise WholeOnlyError("its lines end otherwise than with a line feed")
            if rest:
                yield rest
    except (OSError, EOFError) as error:
        raise InputError(
            f"the file cannot be read: {error}",
            where=place.where,
            fix="it may be incomplete; export it again",
        ) from error
