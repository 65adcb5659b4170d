"""Files appear under their final name only when complete: write to a temporary path, then move."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # most of Airflow's tasks read JSON alone, and each pays its imports
    import polars as pl

_PARQUET: Final = b"PAR1"
_ROWS_OF_A_GROUP: Final = 2**20


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


def write_checked_parquet(path: Path, table: pl.LazyFrame) -> None:
    """As `write_parquet`, with a checksum of each page for `check_parquet`, and reading the table a
    part at a time. What DVC tracks needs no checksums."""
    import pyarrow.parquet as pq

    options = {"compression": "zstd", "write_page_checksum": True}
    groups = _groups(table)
    first = next(groups).to_arrow()
    with whole_file(path) as draft, pq.ParquetWriter(draft, first.schema, **options) as writer:
        for rows in chain([first], (group.to_arrow() for group in groups)):
            writer.write_table(rows, _ROWS_OF_A_GROUP)


def _groups(table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in groups of `_ROWS_OF_A_GROUP`, the last one smaller; at least one."""
    import polars as pl

    held = pl.DataFrame(schema=table.collect_schema())
    for batch in table.collect_batches(chunk_size=_ROWS_OF_A_GROUP):
        held = pl.concat([held, batch])
        while len(held) > _ROWS_OF_A_GROUP:
            yield held[:_ROWS_OF_A_GROUP]
            held = held[_ROWS_OF_A_GROUP:]
    yield held


def check_parquet(path: Path) -> None:
    """Read a Parquet file once and compare each page with its checksum, where it has one.

    Polars does not compare them, and may end the process at a damaged page.

    Raises:
        ValueError: it is not Parquet, or it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        first = stream.read(len(_PARQUET))
    if first != _PARQUET:
        raise ValueError(f"it begins with {first!r}, a Parquet file with {_PARQUET!r}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches():
                pass
    except pa.ArrowNotImplementedError:
        pass  # polars may read what pyarrow does not
    except (OSError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a training curve as CSV, whole or not at all: one line for each row, a column for each
    key; only the header "step" where there is no row."""
    import polars as pl

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
