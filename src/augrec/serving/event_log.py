"""The log of events, which are on disk before they are acknowledged.

One thread owns the file. It writes all queued batches in one transaction and acknowledges them
together, so that they share the cost of the commit under load.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augrec.core.errors import TransientError
from augrec.data.served_events import SCHEMA

log = logging.getLogger(__name__)

_INSERT = """insert or ignore into events
(event_id, user_id, item_id, event, value, timestamp_us, received_us, answer_id, position)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MAX_EVENTS = 2_000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the log; times are µs since 1970, UTC."""

    event_id: str
    user_id: str
    item_id: str
    event: str
    value: float | None
    timestamp_us: int
    received_us: int
    answer_id: str | None
    position: int | None


@dataclass(slots=True)
class _Waiting:
    events: Sequence[StoredEvent]
    answer: asyncio.Future[list[bool]]
    loop: asyncio.AbstractEventLoop


class EventLog:
    """The durable log of events.

    Args:
        path: the SQLite file, created if it does not exist.
        max_waiting: maximum number of batches in the queue.
    """

    def __init__(self, path: Path, max_waiting: int = 256) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with _open(path) as connection:
            connection.executescript(SCHEMA)
        connection.close()
        path.chmod(0o600)  # personal data
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._write_all, name="events", daemon=True)
        self._thread.start()
        self._reader = _open(path)
        self._reading = threading.Lock()

    async def append(self, events: Sequence[StoredEvent]) -> list[bool]:
        """Store events; when this returns, they are on disk.

        Returns:
            For each event whether its id is new.

        Raises:
            TransientError: the queue is full, or the write failed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(events, loop.create_future(), loop)
        try:
            self._waiting.put_nowait(waiting)
        except queue.Full as error:
            raise TransientError(
                "too many events are waiting to be written", fix="send them again in a second"
            ) from error
        return await waiting.answer

    def of_user(self, user_id: str, limit: int) -> list[tuple[str, str, float | None]]:
        """(item, event, value) of a user's latest `limit` events, oldest first."""
        with self._reading:
            rows = self._reader.execute(
                "select item_id, event, value from events where user_id = ? "
                "order by timestamp_us desc, sequence desc limit ?",
                (user_id, limit),
            ).fetchall()
        return rows[::-1]

    def latest(self, limit: int) -> list[tuple[str, str, str, float | None]]:
        """(user, item, event, value) of the latest `limit` events, in the order received."""
        with self._reading:
            rows = self._reader.execute(
                "select user_id, item_id, event, value from events order by sequence desc limit ?",
                (limit,),
            ).fetchall()
        return rows[::-1]

    def count(self) -> int:
        """Number of stored events."""
        with self._reading:
            return int(self._reader.execute("select count(*) from events").fetchone()[0])

    def close(self) -> None:
        """Write the queued events, then stop."""
        self._waiting.put(None)
        self._thread.join(timeout=30)
        self._reader.close()

    def _write_all(self) -> None:
        connection = _open(self._path)
        try:
            while True:
                first = self._waiting.get()
                batch, stopping = _drain(first, self._waiting)
                if batch:
                    self._write(connection, batch)
                if stopping:
                    return
        finally:
            connection.close()

    def _write(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        try:
            news: list[list[bool]] = []
            with connection:  # one transaction
                for waiting in batch:
                    news.append(
                        [
                            connection.execute(_INSERT, _row(one)).rowcount == 1
                            for one in waiting.events
                        ]
                    )
        except sqlite3.Error as error:
            log.error("cannot write events: %s", error)
            problem = TransientError(
                "the events could not be written", fix="send them again in a second"
            )
            for waiting in batch:
                waiting.loop.call_soon_threadsafe(_settle, waiting.answer, None, problem)
            return
        for waiting, new in zip(batch, news, strict=True):
            waiting.loop.call_soon_threadsafe(_settle, waiting.answer, new, None)


def _row(one: StoredEvent) -> tuple[object, ...]:
    return (
        one.event_id,
        one.user_id,
        one.item_id,
        one.event,
        one.value,
        one.timestamp_us,
        one.received_us,
        one.answer_id,
        one.position,
    )


def _drain(
    first: _Waiting | None, waiting: queue.Queue[_Waiting | None]
) -> tuple[list[_Waiting], bool]:
    """`first` and the queued batches, up to `_MAX_EVENTS` events, and whether to stop."""
    batch: list[_Waiting] = []
    size = 0
    while first is not None:
        batch.append(first)
        size += len(first.events)
        if size >= _MAX_EVENTS or waiting.empty():
            return batch, False
        first = waiting.get()
    return batch, True


def _settle(
    answer: asyncio.Future[list[bool]], new: list[bool] | None, problem: Exception | None
) -> None:
    if answer.cancelled():
        return
    if problem is not None:
        answer.set_exception(problem)
    else:
        answer.set_result(new or [])


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    return connection
