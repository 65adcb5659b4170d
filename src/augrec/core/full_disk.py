"""A full disk is a passing failure, whichever library meets it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augrec.core.errors import AugrecError, TransientError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SAID = ("No space left on device", "Disk quota exceeded", "database or disk is full")
"""As libraries say it that keep no error number: polars, SQLite."""


@contextmanager
def full_disk_is_transient(where: Path) -> Iterator[None]:
    """Turn what a full disk raises in the block into a TransientError.

    Args:
        where: named in the error where it names no file itself.
    """
    try:
        yield
    except AugrecError:
        raise
    except Exception as error:
        if not _is_full(error):
            raise
        raise TransientError(
            "the disk is full",
            where=str(getattr(error, "filename", None) or where),
            fix="free space, for example with `augrec prune`; then clear the task",
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether the error is that of a full disk, or what caused it or was being handled is."""
    if error is None:
        return False
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or any(words in str(error) for words in _SAID):
        return True
    return _is_full(error.__cause__) or _is_full(error.__context__)
