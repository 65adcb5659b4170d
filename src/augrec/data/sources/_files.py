"""Shared by the readers: find files, split lines into columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from augrec.core.errors import InputError
from augrec.data import convert
from augrec.data.columns import Columns as C
from augrec.data.config import TextFormat
from augrec.data.convert_numbers import numbers
from augrec.data.convert_times import times
from augrec.data.importing.delimited import read_delimited, read_lines
from augrec.data.importing.place import Place
from augrec.data.importing.quoting import Lines, split_plain


def find(folder: Path, pattern: str) -> Path | None:
    """The file that matches, plain or gzipped; None: there is none.

    Raises:
        InputError: several files match.
    """
    found = find_all(folder, pattern)
    if len(found) > 1:
        raise InputError(
            f"several files could be meant: {', '.join(path.name for path in found)}",
            where=str(folder),
            fix="leave one of them in the folder",
        )
    return found[0] if found else None


def find_all(folder: Path, pattern: str) -> list[Path]:
    """The files that match, by name; a gzipped one only if it is not there plain as well."""
    plain = [path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")]
    zipped = [path for path in sorted(folder.glob(f"{pattern}.gz")) if path.name[0] != "."]
    return plain + [path for path in zipped if path.with_suffix("") not in plain]


def need(folder: Path, pattern: str) -> Path:
    """As `find`, but the file must exist.

    Raises:
        InputError: there is no such file; lists the files that exist.
    """
    if (path := find(folder, pattern)) is None:
        others = ", ".join(sorted(p.name for p in folder.iterdir())[:20]) or "nothing"
        raise InputError(
            f"there is no {pattern} (or {pattern}.gz)",
            where=f"{folder} contains {others}",
            fix="give the folder with the dataset's files, or another layout",
        )
    return path


def delimited(path: Path, names: Sequence[str], separator: str) -> pl.DataFrame:
    """Read lines without header and quotes, split at `separator`, which may have several
    characters; all columns are text.

    Raises:
        InputError: the file cannot be read, or a line has not as many columns as there are names.
    """
    place = Place(str(path))
    try:
        lines = read_lines(path, None, place)
    except InputError:  # older datasets
        lines = read_lines(path, "latin-1", place)
    rows = split_plain(Lines(lines, separator, len(names), place))
    table = rows.fields.rename(dict(zip(rows.fields.columns, names, strict=True)))
    return table.with_columns(pl.all().replace({"": None}))


def with_header(
    path: Path, names: Mapping[str, str], form: TextFormat | None = None
) -> pl.DataFrame:
    """Read a text file with a header; all columns are text, other columns are kept.

    Args:
        path: the file.
        names: {a column that must exist: its canonical name}.
        form: how it is written.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    table = read_delimited(path, form or TextFormat(), Place(str(path))).table
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(
            f"missing columns: {', '.join(missing)}; found: {', '.join(table.columns)}",
            where=str(path),
            fix="import it as a table of your own: `augrec data import -i FILE`, with the names of "
            "its columns under data.import in params.yaml",
        )
    return table.rename(dict(names)).with_columns(pl.all().replace({"": None}))


def ratings(table: pl.DataFrame, *, unit: str, where: str) -> pl.DataFrame:
    """Interactions from columns user_id, item_id, value and timestamp of any type: one event
    "rating" for each row."""
    place = Place(where)
    return table.select(
        convert.ids(table[C.USER], place),
        convert.ids(table[C.ITEM], place),
        pl.lit("rating").alias(C.EVENT),
        numbers(table[C.VALUE], pl.Float32, place, "."),
        times(table[C.TIMESTAMP], place, unit=unit),
    )
