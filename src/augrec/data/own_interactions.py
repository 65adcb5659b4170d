"""Import a large table of interactions in blocks of rows: memory does not grow with the table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from augrec.core.errors import InputError, RefusedError
from augrec.core.files import write_parquet
from augrec.core.memory import USABLE, gib, machine_memory
from augrec.data.canonical import canonical_interactions
from augrec.data.columns import Columns as C
from augrec.data.config import ImportConfig, InteractionColumns
from augrec.data.convert_numbers import plain_numbers
from augrec.data.importing.blocks import WholeOnlyError, read_blocks, text_bytes
from augrec.data.importing.place import PlaceInBlocks
from augrec.data.importing.source import Source
from augrec.data.mapped import Mapped, convert_events, renamed, warn_of_unused

log = logging.getLogger(__name__)

SECTION: Final = "data.import.interactions"
_BYTES_OF_A_BYTE: Final = 4
"""Memory that a table read whole takes for each byte of its text, at least."""
_AMBIGUOUS_ID: Final = r"[eE]\+|\.0\s*$"
"""An id such as 9e+05 or 5.0: how it is meant, all ids of the column tell."""


class InBlocks(NamedTuple):
    """What was imported: canonical interactions, and the columns of the source that were not."""

    interactions: pl.LazyFrame
    left_out: list[str]


def import_in_blocks(config: ImportConfig, source: Source, scratch: Path) -> InBlocks:
    """Convert a table of interactions block by block.

    Args:
        config: the columns.
        source: files.
        scratch: a folder for the converted blocks, which the result reads.

    Raises:
        WholeOnlyError: a value may mean something else beside the other rows than alone.
        InputError: the table cannot be read, or lacks a mapped column.
    """
    names, place = config.interactions, PlaceInBlocks(source.describe(), SECTION)
    events: set[str | None] = set()
    left_out: list[str] = []
    n_rows = 0
    for number, block in enumerate(read_blocks(source, names, place)):
        own = Mapped(block, config.nulls)
        _require_by_rows(names, own)
        try:
            table = convert_events(names, own, C.USER, names.user_id)
        except InputError as error:  # it may be right beside the other rows
            raise WholeOnlyError(error.what) from error
        events |= set(table[C.EVENT].unique())
        rows = canonical_interactions(renamed(table, names.events))
        write_parquet(scratch / f"{number:06}.parquet", rows)
        n_rows, left_out = n_rows + len(table), own.left_out()
        log.info("%s: %s rows", place.where, f"{n_rows:,}")
    if not n_rows:
        raise WholeOnlyError("it has no rows")
    place.tell(n_rows)
    warn_of_unused(names.events, events, place)
    return InBlocks(pl.scan_parquet(scratch / "*.parquet"), left_out)


def check_memory(source: Source, reason: WholeOnlyError) -> None:
    """Say that a large table is read whole, and why.

    Raises:
        RefusedError: it cannot fit into the memory.
    """
    needed, there = _BYTES_OF_A_BYTE * text_bytes(source), machine_memory()
    if needed > USABLE * there:
        raise RefusedError(
            f"the table would have to be read whole, because {reason}; that takes {gib(needed)} at "
            f"least, the memory is {gib(there)}",
            where=source.describe(),
            fix=f"export it as Parquet, with typed columns; or for text set {SECTION}.decimal, "
            "and .quoted to false if quotes have no meaning; or import a shorter time",
        )
    log.warning("%s is read whole, into memory, because %s", source.describe(), reason)


def _require_by_rows(names: InteractionColumns, own: Mapped) -> None:
    """Check that each value means by itself what it means in its column."""
    own.require({"user_id": names.user_id, "item_id": names.item_id, "timestamp": names.timestamp})
    own.require({"event": names.event, "value": names.value})
    for name in (names.user_id, names.item_id):
        ids = own.take(name)
        if own.untyped and ids.str.contains(_AMBIGUOUS_ID).any():
            raise WholeOnlyError(f"{name} has ids that look like fractions, such as 5.0 or 9e+05")
    times = own.take(names.timestamp)
    if names.timestamp_unit and times.dtype == pl.String:
        whole = times.cast(pl.Int64, strict=False)
        if whole.null_count() > times.null_count():
            raise WholeOnlyError(f"{names.timestamp} has values that are no whole numbers")
    if names.value is not None and names.decimal is None:
        values = own.take(names.value)
        if values.dtype == pl.String and plain_numbers(values, ".", known=False) is None:
            raise WholeOnlyError(f"nothing says which decimal separator {names.value} has")
