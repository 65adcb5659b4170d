"""Keeps the DVC cache of a host within a bound. Everything in it is in the DVC remote too, where
AUGREC_GIT_REMOTE is set: whoever needs it again fetches it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from augrec.core.settings import Settings

IN_USE_S: Final = 3600.0
"""Objects that were read, written or linked within this time are kept."""

log = logging.getLogger(__name__)


def keep_within_bound(settings: Settings) -> int:
    """Remove the objects that were not used for longest until the cache is within the bound of
    AUGREC_CACHE_GB.

    Returns:
        The bytes removed; 0 where there is no bound, or where hosts do not exchange their data.
    """
    if settings.cache_bytes is None or settings.git_remote is None:
        return 0
    objects = [(path, path.stat()) for path in _objects(settings.home / ".dvc" / "cache")]
    surplus = sum(facts.st_size for _, facts in objects) - settings.cache_bytes
    used = {path: max(facts.st_atime, facts.st_mtime, facts.st_ctime) for path, facts in objects}
    removed = 0
    for path, facts in sorted(objects, key=lambda one: used[one[0]]):
        if removed >= surplus or used[path] > time.time() - IN_USE_S:
            break
        path.unlink(missing_ok=True)
        removed += facts.st_size
    if removed:
        log.info("removed %.1f MB of the DVC cache, unused for longest", removed / 1e6)
    return removed


def _objects(cache: Path) -> list[Path]:
    return [path for path in (cache / "files" / "md5").glob("??/*") if path.is_file()]
