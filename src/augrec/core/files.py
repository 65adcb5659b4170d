"""Files appear under their final name only when complete: write to a temporary path, then move."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; move it to `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary directory next to `path`; it replaces `path` if the block
    succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.replace(old / path.name)
            draft.replace(path)
            shutil.rmtree(old)
        else:
            draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, completely or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a stable key order; NaN is refused, so that every reader
    can parse it."""
    write_text(
        path,
        json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n",
    )


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table, completely or not at all; the same table gives the same bytes."""
    with whole_file(path) as draft:
        table.write_parquet(draft, compression="zstd", statistics=True)


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a training curve as CSV, whole or not at all: one line for each row, a column for each
    key; only the header "step" where there is no row."""
    table = (
        pl.DataFrame(rows, infer_schema_length=None)
        if rows
        else pl.DataFrame(schema={"step": pl.Int64})
    )
    write_text(path, table.write_csv())


def digest(folder: Path, pattern: str = "*") -> str:
    """SHA-256 over the names and contents of a directory's files, at any depth, that match
    `pattern`; identifies a model."""
    hasher = hashlib.sha256()
    for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
        name, content = path.relative_to(folder).as_posix().encode(), path.read_bytes()
        hasher.update(
            len(name).to_bytes(8, "big") + name + len(content).to_bytes(8, "big") + content
        )
    return hasher.hexdigest()
