"""The SQLite files of a local feature store: waiting while one is locked, and setting a damaged one
aside."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from augrec.core.errors import UnreachableError

BUSY_S = 60.0
"""How long a writer waits for another one."""

Result = TypeVar("Result")
log = logging.getLogger(__name__)


def usable(files: list[Path]) -> bool:
    """Whether every file is there and a sound database.

    Raises:
        UnreachableError: one stayed locked.
    """
    return all(file.exists() and _sound(file) for file in files)


def set_aside_damaged(files: list[Path]) -> list[Path]:
    """Rename databases that are damaged, so that they are created anew; returns their new paths.

    Raises:
        UnreachableError: one stayed locked.
    """
    aside = []
    for file in files:
        if file.exists() and not _sound(file):
            suffix = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
            for part in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
                if part.exists():
                    part.replace(part.with_name(part.name + suffix))
            aside.append(file.with_name(file.name + suffix))
            log.warning("%s is damaged: kept as %s, and made anew", file, aside[-1].name)
    return aside


def when_unlocked(action: Callable[[], Result], files: list[Path]) -> Result:
    """The result of an idempotent action, repeated while it fails because a database is locked:
    Feast itself waits for 5 s.

    Raises:
        UnreachableError: one stayed locked for `BUSY_S`.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            return action()
        except Exception as error:
            if not any(map(_locked, _causes(error))):
                raise
            if time.monotonic() > deadline:
                raise _still_locked(files, error) from error
            time.sleep(0.5)


def _sound(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_S)) as database:
            return database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError as error:
        if _locked(error):
            raise _still_locked([file], error) from error
        return False


def _locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _still_locked(files: list[Path], error: BaseException) -> UnreachableError:
    return UnreachableError(
        f"another program keeps the feature store locked: {error}",
        where=", ".join(map(str, files)),
        fix="it is tried again; if that does not help, find the program that holds the file",
    )
