"""File locks between processes."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def locked(*files: Path) -> Iterator[None]:
    """Hold an exclusive lock for each of `files`; blocks while another process holds one. The
    system releases the locks of a process that dies."""
    with ExitStack() as held:
        # the same order in every process, so that two cannot deadlock
        for file in sorted(set(files)):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = held.enter_context(file.with_name(f"{file.name}.lock").open("w"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another writer of %s", file)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
