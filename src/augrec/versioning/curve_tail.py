"""Forward training curves while a stage runs: the rows that it appends to a file."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

POLL_INTERVAL_S = 3.0
FINAL_WAIT_S = 20.0
_LONGEST_PAUSE_S = 60.0

log = logging.getLogger(__name__)


class CurveSink(Protocol):
    """Receives training curves as they grow. A call may fail or hang: the stage goes on."""

    def send(self, rows: list[dict[str, Any]]) -> None:
        """New rows, as `augrec.stages.runner.tell_curve` wrote them: role, name, row."""

    def end(self, *, failed: bool) -> None:
        """The stage has ended."""


@contextmanager
def tail_curve(path: Path, sink: CurveSink) -> Iterator[None]:
    """Send the rows that are appended to a file while the block runs, in batches.

    When sending fails, for example because a server is down, the rows are kept and sent later, with
    growing pauses between attempts. The end of the block waits at most FINAL_WAIT_S for the rest.
    """
    tail, over, failed = _Tail(path, sink), threading.Event(), True

    def watch() -> None:
        while not over.wait(tail.pause):
            tail.read()
        tail.read()
        tail.end(failed)

    thread = threading.Thread(target=watch, daemon=True, name="follow-curves")
    thread.start()
    try:
        yield
        failed = False
    finally:
        over.set()
        thread.join(FINAL_WAIT_S)
        if tail.waiting or thread.is_alive():
            log.warning(
                "the training curve was not forwarded to its end; it is logged completely with the "
                "run"
            )


class _Tail:
    """The rows of a growing file.

    Attributes:
        pause: seconds until the file is read again.
        waiting: rows not sent yet.
    """

    def __init__(self, path: Path, sink: CurveSink) -> None:
        self._path, self._follower = path, sink
        self._offset = 0
        self.pause = POLL_INTERVAL_S
        self.waiting: list[dict[str, Any]] = []

    def read(self) -> None:
        self.waiting += self._new_rows()
        if not self.waiting:
            return
        try:
            self._follower.send(list(self.waiting))
        except Exception as error:
            if self.pause == POLL_INTERVAL_S:
                log.warning("training curves cannot be forwarded at the moment: %s", error)
            self.pause = min(2 * self.pause, _LONGEST_PAUSE_S)
        else:
            self.pause, self.waiting = POLL_INTERVAL_S, []

    def end(self, failed: bool) -> None:
        try:
            self._follower.end(failed=failed)
        except Exception as error:
            log.warning("the end of the training curve could not be forwarded: %s", error)

    def _new_rows(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")  # the last line may be incomplete
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
