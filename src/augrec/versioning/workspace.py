"""The workspace of a run: a git worktree at the commit from which the run started. All workspaces
share one DVC cache.

Simultaneous runs do not affect each other, nor the project's working tree.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from augrec.core.config import closest
from augrec.core.errors import ConfigError, InputError
from augrec.core.files import read_json, whole_file, write_json, write_text
from augrec.core.settings import Settings
from augrec.versioning import git

COMPONENTS: Final = ("generators.", "recommenders.")
"""Where params.yaml holds options of components."""
_HASH_LENGTH: Final = 12


@dataclass(frozen=True)
class Workspace:
    """The workspace of a run.

    Attributes:
        path: the worktree.
        run_id: Airflow's run id.
        commit: the commit from which the run started.
        changed: paths with uncommitted changes, which were copied; with any, the run is a dry run.
        dry_run: everything is computed and reported, nothing is registered.
        restored: stages whose outputs `augrec.versioning.restore` restored.
    """

    path: Path
    run_id: str
    commit: str
    changed: list[str]
    dry_run: bool
    restored: list[str] = field(default_factory=list)


def folder_name(run_id: str) -> str:
    """A run id as a folder and tag name; no two run ids have the same.

    A short id of lower-case letters, digits, "-" and "_" is its own name. Any other becomes the
    readable part of it and a hash of the whole: ids may be longer than a file name, and differ
    only in characters, or in the case of letters, that a folder or a tag cannot tell apart.
    """
    plain = re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,59}", run_id)
    if plain and not re.search(rf"(^|-)[0-9a-f]{{{_HASH_LENGTH}}}$", run_id):
        return run_id
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", run_id).strip("-")[:60]
    hashed = hashlib.sha256(run_id.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{readable}-{hashed}".lstrip("-")


def path_of(settings: Settings, run_id: str) -> Path:
    """The path of a run's workspace, whether it exists or not."""
    return settings.runs / folder_name(run_id)


def create(
    settings: Settings, run_id: str, overrides: Mapping[str, Any], *, dry_run: bool = False
) -> Workspace:
    """Create a run's workspace, or return the existing one; idempotent.

    It holds code and parameters; `augrec.versioning.restore` adds the data.

    Args:
        settings: the installation.
        run_id: Airflow's run id.
        overrides: dotted key of params.yaml -> the value that this run uses instead.
        dry_run: compute and report only.

    Raises:
        InputError: there is no raw data.
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


def exists(settings: Settings, run_id: str) -> bool:
    """Whether this host has the workspace of a run."""
    return _record(path_of(settings, run_id)).exists()


def record(workspace: Workspace) -> None:
    """Write the attributes of a workspace to a file next to it, for `open_`."""
    write_json(_record(workspace.path), {**asdict(workspace), "path": str(workspace.path)})


def open_(settings: Settings, run_id: str) -> Workspace:
    """The existing workspace of a run.

    Raises:
        InputError: the run has no workspace.
    """
    kept = _record(path_of(settings, run_id))
    if not kept.exists():
        raise InputError(
            f"the run {run_id} has no workspace",
            where=str(kept),
            fix="clear the run's task `snapshot` in Airflow, which creates it again",
        )
    fields = read_json(kept)
    return Workspace(**{**fields, "path": Path(fields["path"])})


def checkout(settings: Settings, name: str, commit: str) -> Path:
    """A new worktree at any commit, which shares the DVC cache.

    Args:
        settings: the installation.
        name: the folder's name: of a run that began on another host, or one that ends in twelve
            hexadecimal digits, as no run id's own name does.
        commit: what to check out.
    """
    path = settings.runs / name
    _discard(settings, path)
    settings.runs.mkdir(parents=True, exist_ok=True)
    git.git(settings.home, "worktree", "add", "--detach", "--force", str(path), commit)
    _share_cache(settings, path)
    return path


def remove(settings: Settings, path: Path) -> None:
    """Remove a worktree and its record; the DVC cache is kept."""
    _discard(settings, path)


def override_params(path: Path, overrides: Mapping[str, Any]) -> None:
    """Set dotted keys of a params.yaml, keeping comments; without overrides the file does not
    change. Sections of components name only what differs from the defaults, so keys are added
    there.

    Raises:
        ConfigError: any other key does not exist.
    """
    if not overrides:
        return
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.representer.add_representer(type(None), _null)
    params = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in overrides.items():
        *parents, last = key.split(".")
        place = params
        for name in parents:
            if key.startswith(COMPONENTS) and place.get(name) is None:
                place[name] = {}
            place = place.get(name, {})
        if last not in place and not key.startswith(COMPONENTS):
            raise ConfigError(
                f"params.yaml has no {key}", where=str(path), fix=closest(last, place)
            )
        place[last] = value
    with whole_file(path) as draft:
        yaml.dump(params, draft)


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


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
        f"['remote \"local\"']\n    url = {settings.dvc_remote}\n",
    )
