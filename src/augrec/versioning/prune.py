"""Free disk space: remove the workspaces of published runs, whose data is in the DVC remote and
whose files are in a commit."""

from __future__ import annotations

from pathlib import Path

from augrec.core.settings import Settings
from augrec.versioning import publish, workspace

_REPORTS = "reports"


def prune(settings: Settings, keep: int) -> dict[str, int]:
    """Remove the workspaces of old published runs; their reports are kept in place.

    Runs that are not published are kept completely: those in progress, failed ones that can be
    continued, dry runs.

    Args:
        settings: the installation.
        keep: the number of latest published runs whose workspaces are kept.

    Returns:
        run -> bytes freed, oldest run first.
    """
    published = [tag.removeprefix(publish.TAG_PREFIX) for tag in publish.tags(settings)]
    paths = [settings.runs / name for name in published[: max(0, len(published) - keep)]]
    return {path.name: _reduce(settings, path) for path in paths if _is_whole(path)}


def _is_whole(path: Path) -> bool:
    return path.is_dir() and any(entry.name != _REPORTS for entry in path.iterdir())


def _reduce(settings: Settings, path: Path) -> int:
    """Remove all but the reports; returns the bytes freed."""
    before, aside = _size(path), path.with_name(f"{path.name}.{_REPORTS}")
    if (path / _REPORTS).is_dir():
        (path / _REPORTS).rename(aside)
    workspace.remove(settings, path)
    if aside.is_dir():
        path.mkdir()
        aside.rename(path / _REPORTS)
    return before - _size(path)


def _size(path: Path) -> int:
    """Bytes that removing a folder would free, 0 if it does not exist: files with links from other
    folders do not count."""
    found = (file.lstat() for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(facts.st_size for facts in found if facts.st_nlink == 1)
