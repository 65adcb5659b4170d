"""A new run begins where the last one ended: whatever did not change since is there before its
first task starts.

DVC restores single stages too, but each time it reads and writes all of dvc.lock under one lock. A
whole run restored at once costs a second or two.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import yaml

from augrec.core.files import write_text
from augrec.core.settings import Settings
from augrec.versioning import git, publish, stages
from augrec.versioning.workspace import Workspace, record


def restore_unchanged(settings: Settings, run: Workspace) -> Workspace:
    """Bring this moment's raw data, and every output that is as it was in the latest published run.

    The other stages will be run, or restored one by one, by DVC.

    Returns:
        The workspace, `restored` naming the stages that need no work. Doing it twice changes
        nothing.
    """
    plan = stages.plan(run.path)
    raw = run.path / "data" / "raw"
    _remove(raw)
    if _begin_with(run.path, _latest_lock(settings), {stage.name for stage in plan}):
        stages.checkout(run.path)
    shutil.copytree(settings.home / "data" / "raw", raw)
    stages.snapshot(run.path, "data/raw")
    touched = _touched(plan, set(stages.unfinished(run.path)))
    for stage in touched:
        for out in stage.outs:
            _remove(run.path / out)  # what an earlier run left there is not this run's
    names = {stage.name for stage in touched}
    resumed = replace(run, restored=[stage.name for stage in plan if stage.name not in names])
    record(resumed)
    return resumed


def _latest_lock(settings: Settings) -> str:
    tags = publish.tags(settings)
    return git.git(settings.home, "show", f"{tags[-1]}:dvc.lock") if tags else ""


def _begin_with(workspace: Path, lock: str, names: set[str]) -> bool:
    entries = (yaml.safe_load(lock) or {}).get("stages", {})
    kept = {name: entry for name, entry in entries.items() if name in names}
    if kept:
        write_text(
            workspace / "dvc.lock",
            yaml.safe_dump({"schema": "2.0", "stages": kept}, sort_keys=False),
        )
    return bool(kept)


def _touched(plan: list[stages.Stage], changed: set[str]) -> list[stages.Stage]:
    """Stages that changed, and all that follow from them; `plan` lists dependencies first."""
    touched: list[stages.Stage] = []
    for stage in plan:
        follows = any(
            _overlap(dep, out) for other in touched for out in other.outs for dep in stage.deps
        )
        if stage.name in changed or follows:
            touched.append(stage)
    return touched


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)  # links into the cache, or copies: the cache itself is elsewhere
    else:
        path.unlink(missing_ok=True)
