"""A run has its own workspace: a git worktree at the commit it started from, sharing one DVC cache.

Two runs at once never meet, and the tree people work in is never touched.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from augrec.core.errors import ConfigError, InputError
from augrec.core.files import read_json, whole_file, write_json, write_text
from augrec.core.settings import Settings
from augrec.versioning import git


@dataclass(frozen=True)
class Workspace:
    """Where a run works.

    Attributes:
        path: the worktree.
        run_id: Airflow's run id.
        commit: the commit the run started from.
        changed: uncommitted paths that were carried over; a run with any is a dry run.
        dry_run: everything is computed and reported, nothing is registered.
        restored: stages that `resume` found unchanged since the latest run.
    """

    path: Path
    run_id: str
    commit: str
    changed: list[str]
    dry_run: bool
    restored: list[str] = field(default_factory=list)


def folder_name(run_id: str) -> str:
    """A run id as a folder and tag name: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run_id).strip("-.")


def path_of(settings: Settings, run_id: str) -> Path:
    """Where the workspace of a run is, whether it exists or not."""
    return settings.runs / folder_name(run_id)


def create(
    settings: Settings, run_id: str, overrides: Mapping[str, Any], *, dry_run: bool = False
) -> Workspace:
    """Make a run's workspace, or return the one it has: calling twice changes nothing the second
    time.

    It holds code and parameters; `resume` brings the data.

    Args:
        settings: where the project is.
        run_id: Airflow's run id.
        overrides: dotted keys of params.yaml and the values this run uses instead.
        dry_run: compute and report only.

    Raises:
        InputError: there is no raw data yet.
        ConfigError: an override names a key that params.yaml does not have.
    """
    path = path_of(settings, run_id)
    if _record(path).exists():
        return open_(settings, run_id)
    raw = settings.home / "data" / "raw"
    if not (raw / "interactions.parquet").exists():
        raise InputError(
            "there is no data to train on",
            where=str(raw),
            fix="run `augrec data get ml-100k`, `augrec data simulate` or `augrec data import` "
            "first",
        )
    _discard(settings, path)
    commit, changed = git.head(settings.home), git.changes(settings.home)
    settings.runs.mkdir(parents=True, exist_ok=True)
    git.git(settings.home, "worktree", "add", "--detach", "--force", str(path), commit)
    _carry_over(settings.home, path, changed)
    _share_cache(settings, path)
    override_params(path / "params.yaml", overrides)
    workspace = Workspace(path, run_id, commit, changed, dry_run or bool(changed))
    record(workspace)
    return workspace


def record(workspace: Workspace) -> None:
    """Keep what is known of a workspace beside it, for `open_`."""
    write_json(_record(workspace.path), {**asdict(workspace), "path": str(workspace.path)})


def open_(settings: Settings, run_id: str) -> Workspace:
    """The workspace of a run that has one.

    Raises:
        InputError: the run has none.
    """
    kept = _record(path_of(settings, run_id))
    if not kept.exists():
        raise InputError(
            f"the run {run_id} has no workspace",
            where=str(kept),
            fix="clear its snapshot task, so that it is made again",
        )
    fields = read_json(kept)
    return Workspace(**{**fields, "path": Path(fields["path"])})


def checkout(settings: Settings, name: str, commit: str) -> Path:
    """A fresh worktree at any commit, for rebuilding what was made there."""
    path = settings.runs / folder_name(name)
    _discard(settings, path)
    settings.runs.mkdir(parents=True, exist_ok=True)
    git.git(settings.home, "worktree", "add", "--detach", "--force", str(path), commit)
    _share_cache(settings, path)
    return path


def remove(settings: Settings, path: Path) -> None:
    """Remove a worktree and its record; what DVC cached stays."""
    _discard(settings, path)


def override_params(path: Path, overrides: Mapping[str, Any]) -> None:
    """Write values under dotted keys into a params.yaml, keeping comments; without overrides no
    byte changes.

    Raises:
        ConfigError: a key does not exist.
    """
    if not overrides:
        return
    yaml = YAML()
    yaml.preserve_quotes = True
    params = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in overrides.items():
        *parents, last = key.split(".")
        section = params
        for name in parents:
            section = section.get(name, {})
        if last not in section:
            raise ConfigError(
                f"params.yaml has no {key}",
                where=str(path),
                fix=f"known keys there: {', '.join(section) or 'none'}",
            )
        section[last] = value
    with whole_file(path) as draft:
        yaml.dump(params, draft)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _discard(settings: Settings, path: Path) -> None:
    _record(path).unlink(missing_ok=True)
    if path.exists():
        git.git(settings.home, "worktree", "remove", "--force", str(path), check=False)
        shutil.rmtree(path, ignore_errors=True)
    git.git(settings.home, "worktree", "prune", check=False)


def _carry_over(home: Path, path: Path, changed: list[str]) -> None:
    for name in changed:
        source, target = home / name, path / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)


def _share_cache(settings: Settings, path: Path) -> None:
    write_text(
        path / ".dvc" / "config.local",
        f"[cache]\n    dir = {settings.home / '.dvc' / 'cache'}\n"
        f"['remote \"local\"']\n    url = {settings.var / 'dvc-remote'}\n",
    )
