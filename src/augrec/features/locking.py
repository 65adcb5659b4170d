"""One writer at a time, over processes."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def locked(*files: Path) -> Iterator[None]:
    """Hold the locks beside `files`, waiting for their holders; a process that dies lets go of
    them."""
    with ExitStack() as held:
        # Everyone takes them in the same order, so that nobody waits in a circle.
        for file in sorted(set(files)):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = held.enter_context(file.with_name(f"{file.name}.lock").open("w"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another writer of %s", file)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
