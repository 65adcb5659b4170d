"""The files of a table that is a folder, as Spark, Hive and others write it."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from augrec.core.errors import InputError

_PARQUET_MAGIC: Final = b"PAR1"
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_TABLE_LOGS: Final = {"_delta_log": "Delta", ".hoodie": "Hudi"}
"""Folders in which table formats write down which of the files still count."""


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that hold rows, in the order of their names; subfolders too.

    Names that begin with a dot or an underscore (`_SUCCESS`, `.part-0.crc`) and empty files hold
    none.

    Raises:
        InputError: there are none, or files of several kinds, or a log says that some no longer
            count.
    """
    _refuse_table_formats(folder)
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise InputError(
            "the folder has no files with rows", where=str(folder), fix="check the path"
        )
    kinds = {_kind(path): path for path in reversed(files)}
    if len(kinds) > 1 or "" in kinds:
        examples = ", ".join(path.name for path in sorted(kinds.values()))
        raise InputError(
            f"the folder must hold Parquet files or text files (csv, tsv) alone; it has {examples}",
            where=str(folder),
            fix="move the others away, or name one file",
        )
    return files


def partition_values(path: Path, folder: Path) -> dict[str, str | None]:
    """The columns that are folders: {"day": "2024-01-31"} of day=2024-01-31/part-0.parquet."""
    pairs = [part.split("=", 1) for part in path.relative_to(folder).parts[:-1] if "=" in part]
    return {name: None if value == _NO_VALUE else unquote(value) for name, value in pairs}


def _kind(path: Path) -> str:
    for kind in ("csv", "tsv"):
        if path.name.endswith((f".{kind}", f".{kind}.gz")):
            return kind
    with path.open("rb") as file:  # Hive gives its files no ending
        return "parquet" if file.read(4) == _PARQUET_MAGIC else ""


def _refuse_table_formats(folder: Path) -> None:
    found = [kind for name, kind in _TABLE_LOGS.items() if (folder / name).exists()]
    found += ["Iceberg"] if any((folder / "metadata").glob("*.metadata.json")) else []
    if found:
        raise InputError(
            f"this is a {found[0]} table: its folder also holds rows that were deleted or changed",
            where=str(folder),
            fix="export the rows of now, e.g. with Spark's `write.parquet`",
        )
