"""Following a stage while it runs: the rows of training curves that it appends to a file."""

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
    """Whoever wants to see training curves grow. Each call may fail or hang: the stage goes on."""

    def send(self, rows: list[dict[str, Any]]) -> None:
        """New rows, as `augrec.stages.runner.tell_curve` wrote them: role, name, row."""

    def end(self, *, failed: bool) -> None:
        """The stage has ended."""


@contextmanager
def tail_curve(path: Path, sink: CurveSink) -> Iterator[None]:
    """Hand on what is appended to a file while the block runs, in batches.

    Where that fails (a server may be down), rows wait for the next try, after growing pauses. The
    end of the block waits FINAL_WAIT_S for what is left, at most.
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
                "the training curve was not followed to its end; it is logged whole when the run is"
            )


class _Tail:
    """The rows of a growing file.

    Attributes:
        pause: seconds until the next look.
        waiting: rows not handed on yet.
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
                log.warning("training curves cannot be followed just now: %s", error)
            self.pause = min(2 * self.pause, _LONGEST_PAUSE_S)
        else:
            self.pause, self.waiting = POLL_INTERVAL_S, []

    def end(self, failed: bool) -> None:
        try:
            self._follower.end(failed=failed)
        except Exception as error:
            log.warning("whoever follows the training curve does not know how it ended: %s", error)

    def _new_rows(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")  # the last line may be half written
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
