"""Disk space: the workspaces of published runs, whose data is in the DVC remote and whose files are
in a commit."""

from __future__ import annotations

from pathlib import Path

from augrec.core.settings import Settings
from augrec.versioning import publish, workspace

_REPORTS = "reports"


def prune(settings: Settings, keep: int) -> dict[str, int]:
    """Remove the workspaces of all published runs but the latest; their reports stay where they
    are.

    Whatever is not published stays whole: a run under way, a failed one that can be mended, a dry
    run.

    Args:
        settings: where the project is.
        keep: so many of the latest published runs stay as they are.

    Returns:
        the bytes freed, by run, oldest first.
    """
    published = [tag.removeprefix(publish.TAG_PREFIX) for tag in publish.tags(settings)]
    paths = [settings.runs / name for name in published[: max(0, len(published) - keep)]]
    return {path.name: _reduce(settings, path) for path in paths if _is_whole(path)}


def _is_whole(path: Path) -> bool:
    return path.is_dir() and any(entry.name != _REPORTS for entry in path.iterdir())


def _reduce(settings: Settings, path: Path) -> int:
    """Remove all but the reports; the bytes freed."""
    before, aside = _size(path), path.with_name(f"{path.name}.{_REPORTS}")
    if (path / _REPORTS).is_dir():
        (path / _REPORTS).rename(aside)
    workspace.remove(settings, path)
    if aside.is_dir():
        path.mkdir()
        aside.rename(path / _REPORTS)
    return before - _size(path)


def _size(path: Path) -> int:
    """Bytes that removing a folder, which may be missing, would free: files that other folders link
    to do not count."""
    found = (file.lstat() for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(facts.st_size for facts in found if facts.st_nlink == 1)
