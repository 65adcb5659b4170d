"""The log of answers: what was shown to which user, by which model, from which features.

JSON lines in segment files, which are closed at a maximum size. A thread writes them; if it cannot
keep up, answers are dropped and counted instead of delayed. The log contains personal data, so only
the owner of the process can read the files.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from augrec.serving.config import AnswerLogConfig

log = logging.getLogger(__name__)

FOLDER: Final = "serving/answers"
"""Path below var/."""

_FLUSH_S = 0.05  # often: a large batch would hold the interpreter lock while requests wait
_DAY_S = 86_400


class AnswerLog:
    """Appends answers to files in a folder.

    Args:
        folder: created if it does not exist.
        config: how much is kept.
        max_waiting: maximum number of answers in the queue.
        lost: called for each dropped answer.
    """

    def __init__(
        self,
        folder: Path,
        config: AnswerLogConfig,
        *,
        max_waiting: int = 10_000,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder, self._config, self._lost = folder, config, lost
        self._waiting: deque[dict[str, Any]] = deque()
        self._max_waiting, self._stop = max_waiting, threading.Event()
        self._file: BinaryIO | None = None
        self._thread = threading.Thread(target=self._write_all, name="answers", daemon=True)
        self._thread.start()

    def sampled(self, answer_id: str) -> bool:
        """Whether this answer is logged; depends only on the id."""
        return int(answer_id[-8:], 16) < self._config.share * 2**32

    def add(self, answer: dict[str, Any]) -> None:
        """Queue an answer, a JSON object that may contain NumPy arrays."""
        if len(self._waiting) < self._max_waiting:
            self._waiting.append(answer)  # without waking the thread, which polls
        else:
            self._lost()

    def close(self) -> None:
        """Write the queued answers, then stop."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _write_all(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_FLUSH_S)
            while self._waiting:
                try:
                    self._write(self._waiting.popleft())
                except (OSError, TypeError) as error:
                    log.error("cannot log an answer: %s", error)
                    self._lost()
            if self._file is not None:
                self._file.flush()
        self._close_segment()

    def _write(self, answer: dict[str, Any]) -> None:
        line = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        if (
            self._file is not None
            and self._file.tell() + len(line) > self._config.segment_mb * 2**20
        ):
            self._close_segment()
        if self._file is None:
            self._file = self._new_segment()
        self._file.write(line)

    def _new_segment(self) -> BinaryIO:
        self._delete_old()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
        handle = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "ab", buffering=1 << 16)

    def _close_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _delete_old(self) -> None:
        oldest = time.time() - self._config.keep_days * _DAY_S
        for path in self._folder.glob("*.jsonl"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
