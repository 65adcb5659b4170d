"""Shared by the readers: find files, split lines into columns."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from augrec.core.errors import InputError
from augrec.data import convert
from augrec.data.columns import Columns as C

_NEVER = "\x1f"  # a separator that does not occur: a line is read as one column


def find(folder: Path, pattern: str) -> Path | None:
    """The first file by name that matches, plain or gzipped; None: there is none."""
    found = [
        path
        for path in sorted([*folder.glob(pattern), *folder.glob(f"{pattern}.gz")])
        if not path.name.startswith(".")
    ]
    return found[0] if found else None


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
        InputError: the file cannot be read, or no line has as many columns as there are names.
    """
    lines = _lines(path)
    cut = lines.select(
        pl.col("line").str.split_exact(separator, len(names) - 1).struct.rename_fields(list(names))
    ).unnest("line")
    if cut.is_empty() or cut[names[-1]].null_count() == len(cut):
        raise InputError(
            f"no line has {len(names)} columns separated by {separator!r}",
            where=str(path),
            fix="check that the dataset has the layout you gave",
        )
    return cut


def ratings(table: pl.DataFrame, *, unit: str, where: str) -> pl.DataFrame:
    """Interactions from columns user_id, item_id, value and timestamp of any type: one event
    "rating" for each row."""
    return table.select(
        convert.ids(table[C.USER]),
        convert.ids(table[C.ITEM]),
        pl.lit("rating").alias(C.EVENT),
        convert.numbers(table[C.VALUE], pl.Float32, where=where),
        convert.times(table[C.TIMESTAMP], unit, where=where, key="timestamp"),
    )


def _lines(path: Path) -> pl.DataFrame:
    source: Path | io.BytesIO = path
    try:
        if not _is_utf8(path):
            # older datasets, and only their small tables
            source = io.BytesIO(_read(path).decode("latin-1").encode())
        return pl.read_csv(
            source,
            separator=_NEVER,
            has_header=False,
            new_columns=["line"],
            quote_char=None,
            infer_schema=False,
        )
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="it may be empty or incomplete; get it again",
        ) from error


def _is_utf8(path: Path) -> bool:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        rest = b""
        while block := stream.read(1 << 20):
            head, newline, tail = (rest + block).rpartition(b"\n")
            try:
                (head + newline).decode("utf-8")
            except UnicodeDecodeError:
                return False
            rest = tail
    try:
        rest.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
