"""Histories and attributes of the users in data/raw, by user id.

Stored in an SQLite file, so that memory does not grow with the number of users; rebuilt when
data/raw changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.files import whole_file
from augrec.data.columns import Columns as C
from augrec.data.instants import in_order

log = logging.getLogger(__name__)

_BATCH = 20_000
_SCALARS = (
    pl.String,
    pl.Boolean,
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.UInt8,
    pl.UInt16,
    pl.UInt32,
    pl.UInt64,
    pl.Float32,
    pl.Float64,
)
_TABLES = """
create table histories (user_id text primary key, items text not null) without rowid;
create table attributes (user_id text primary key, attributes text not null) without rowid;
create table facts (name text primary key, value text not null);
"""


class UserStore:
    """Histories and attributes by user id. Thread-safe.

    Args:
        path: file written by `open_user_store`; None: a store without users.

    Attributes:
        attributes: {attribute of users: its type}.
        popularity: {item id: number of positive interactions}.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self.attributes: dict[str, pl.DataType] = {}
        self.popularity: dict[str, float] = {}
        self._connection = None
        if path is not None:
            self._connection = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, check_same_thread=False
            )
            facts = dict(self._connection.execute("select name, value from facts").fetchall())
            self.attributes = {
                name: _kind(kind) for name, kind in json.loads(facts["attributes"]).items()
            }
            self.popularity = json.loads(facts["popularity"])

    def history(self, user_id: str) -> list[str]:
        """The user's items, oldest first; empty for an unknown user."""
        found = self._one("select items from histories where user_id = ?", user_id)
        return [] if found is None else json.loads(found)

    def attributes_of(self, user_id: str) -> dict[str, Any]:
        """The user's row of the users table; empty for an unknown user."""
        found = self._one("select attributes from attributes where user_id = ?", user_id)
        return {} if found is None else json.loads(found)

    def some(self, limit: int) -> list[tuple[str, int]]:
        """(user, length of history) of at most `limit` users, evenly spread over all."""
        if self._connection is None:
            return []
        with self._lock:
            total = self._connection.execute("select count(*) from histories").fetchone()[0]
            rows = self._connection.execute(
                "select user_id, json_array_length(items) from (select user_id, items, "
                "row_number() over (order by user_id) as n from histories) where n % ? = 0 limit ?",
                (max(1, total // limit), limit),
            ).fetchall()
        return [(user, int(length)) for user, length in rows]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def _one(self, query: str, user_id: str) -> str | None:
        if self._connection is None:
            return None
        with self._lock:
            row = self._connection.execute(query, (user_id,)).fetchone()
        return None if row is None else row[0]


def fingerprint(raw: Path, positive: Mapping[str, float | None], max_history: int) -> str:
    """Identifies a state of data/raw without reading the files; empty if there is no data."""
    if not (raw / "interactions.parquet").exists():
        return ""
    hasher = hashlib.sha256(json.dumps([positive, max_history], sort_keys=True).encode())
    for name in ("interactions.parquet", "users.parquet", "source.json"):
        path = raw / name
        if path.exists():
            status = path.stat()
            hasher.update(f"{name} {status.st_size} {status.st_mtime_ns}".encode())
    return hasher.hexdigest()


def open_user_store(
    raw: Path, path: Path, positive: Mapping[str, float | None], max_history: int
) -> UserStore:
    """The users of data/raw; the file at `path` is rebuilt if it is missing or of other data."""
    wanted = fingerprint(raw, positive, max_history)
    if not wanted:
        return UserStore(None)
    if _fingerprint_in(path) != wanted:
        _build(raw, path, positive, max_history, wanted)
    return UserStore(path)


def positive_rows(positive: Mapping[str, float | None]) -> pl.Expr:
    """Mask of positive interactions, as in the stage `prepare`; all rows if `positive` is empty."""
    if not positive:
        return pl.lit(True)
    mask = pl.lit(False)
    for event, least in positive.items():
        enough = pl.lit(True) if least is None else (pl.col(C.VALUE) >= least).fill_null(False)
        mask = mask | ((pl.col(C.EVENT) == event) & enough)
    return mask


def _build(
    raw: Path, path: Path, positive: Mapping[str, float | None], max_history: int, mark: str
) -> None:
    rows = (
        pl.scan_parquet(raw / "interactions.parquet")
        .filter(
            positive_rows(positive) & pl.col(C.USER).is_not_null() & pl.col(C.ITEM).is_not_null()
        )
        .select(C.USER, C.ITEM, C.TIMESTAMP)
        .collect()
    )
    # in the order that models were trained on
    rows = in_order(rows).unique([C.USER, C.ITEM], keep="first", maintain_order=True)
    histories = rows.group_by(C.USER, maintain_order=True).agg(pl.col(C.ITEM).tail(max_history))
    counted = rows.group_by(C.ITEM, maintain_order=True).len()
    users = pl.read_parquet(raw / "users.parquet") if (raw / "users.parquet").exists() else None
    kinds = (
        {}
        if users is None
        else {n: k for n, k in users.schema.items() if n != C.USER and k in _SCALARS}
    )
    with whole_file(path) as draft:
        connection = sqlite3.connect(draft)
        connection.executescript(_TABLES)
        for part in histories.iter_slices(_BATCH):
            pairs = ((user, json.dumps(items)) for user, items in part.iter_rows())
            connection.executemany("insert into histories values (?, ?)", pairs)
        if users is not None and kinds:
            for part in users.drop_nulls(C.USER).unique(C.USER, keep="first").iter_slices(_BATCH):
                pairs = (
                    (row.pop(C.USER), json.dumps(row))
                    for row in part.select(C.USER, *kinds).iter_rows(named=True)
                )
                connection.executemany("insert into attributes values (?, ?)", pairs)
        facts = {
            "fingerprint": mark,
            "attributes": json.dumps({name: str(kind) for name, kind in kinds.items()}),
            "popularity": json.dumps({item: float(count) for item, count in counted.iter_rows()}),
        }
        connection.executemany("insert into facts values (?, ?)", list(facts.items()))
        connection.commit()
        connection.close()
    log.info("stored the histories of %d users", len(histories))


def _fingerprint_in(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            [(mark,)] = connection.execute(
                "select value from facts where name = 'fingerprint'"
            ).fetchall()
            return str(mark)
        finally:
            connection.close()
    except (sqlite3.Error, ValueError):
        return ""


def _kind(name: str) -> pl.DataType:
    return {str(kind): kind() for kind in _SCALARS}[name]
