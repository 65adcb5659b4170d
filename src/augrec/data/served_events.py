"""The log of events that shops send to the service: `augrec serve` writes it, `ingest` reads it.

It is an SQLite file in WAL mode with synchronous=FULL: an event is on disk before it is
acknowledged. Event ids are unique, so that sending an event again changes nothing. An index finds
the newest events of a user, and readers never wait for the writer.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import INTERACTIONS, REAL, TIME
from augrec.data.columns import Columns as C

FILE: Final = "serving/events.db"
"""Path inside the folder var."""

SCHEMA: Final = """
create table if not exists events (
    sequence integer primary key,
    event_id text not null unique,
    user_id text not null,
    item_id text not null,
    event text not null,
    value real,
    timestamp_us integer not null,
    received_us integer not null,
    answer_id text,
    position integer
);
create index if not exists events_of_user on events (user_id, timestamp_us, sequence);
"""


def read_served_events(path: Path) -> pl.DataFrame:
    """All events acknowledged so far as canonical interactions, in the order they happened.

    Args:
        path: the log; no rows if it does not exist.

    Raises:
        InputError: the file is not a log of events.
    """
    columns = ("user_id", "item_id", "event", "value", "timestamp_us")
    if not path.exists():
        rows = []
    else:
        try:
            connection = sqlite3.connect(path, timeout=30)
            try:
                rows = connection.execute(
                    f"select {', '.join(columns)} from events order by timestamp_us, sequence"
                ).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise InputError(
                f"the log of events cannot be read: {error}",
                where=str(path),
                fix="move it away; `augrec serve` creates a new one",
            ) from error
    kinds = {
        C.USER: pl.String,
        C.ITEM: pl.String,
        C.EVENT: pl.String,
        C.VALUE: pl.Float32,
        "timestamp_us": pl.Int64,
    }
    table = pl.DataFrame(rows, schema=kinds, orient="row")
    return table.with_columns(
        pl.from_epoch("timestamp_us", time_unit="us").cast(TIME).alias(C.TIMESTAMP),
        pl.lit(REAL).alias(C.ORIGIN),
        pl.lit(1.0, pl.Float32).alias(C.WEIGHT),
    ).select(list(INTERACTIONS))
