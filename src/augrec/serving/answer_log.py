"""The log of answers: what was shown to whom, by which model, from which features.

JSON lines in files that are closed at a size and never written again; a thread writes them, and
where it cannot keep up answers are left out and counted rather than delayed. It holds personal
data: only its owner can read it.
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
"""Below the folder var."""

_LOOK_S = 0.05  # small portions: a long one would hold the interpreter while requests wait
_DAY_S = 86_400


class AnswerLog:
    """Appends answers to files in a folder.

    Args:
        folder: made where there is none.
        config: how much is kept.
        max_waiting: answers that may wait for the disk.
        lost: called for each answer that was left out.
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
        self._max_waiting, self._ending = max_waiting, threading.Event()
        self._file: BinaryIO | None = None
        self._thread = threading.Thread(target=self._write_all, name="answers", daemon=True)
        self._thread.start()

    def sampled(self, answer_id: str) -> bool:
        """Whether this answer is kept; the same id always says the same."""
        return int(answer_id[-8:], 16) < self._config.share * 2**32

    def add(self, answer: dict[str, Any]) -> None:
        """Keep an answer: a JSON object; arrays of NumPy are fine."""
        if len(self._waiting) < self._max_waiting:
            self._waiting.append(answer)  # nobody is woken: the thread looks by itself
        else:
            self._lost()

    def close(self) -> None:
        """Write what waits, then stop."""
        self._ending.set()
        self._thread.join(timeout=30)

    def _write_all(self) -> None:
        ending = False
        while not ending:
            ending = self._ending.wait(_LOOK_S)
            while self._waiting:
                try:
                    self._write(self._waiting.popleft())
                except (OSError, TypeError) as error:
                    log.error("an answer could not be logged: %s", error)
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
