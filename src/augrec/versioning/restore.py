"""Restore the outputs of the latest published run that are still up to date, before the first task
of a new run starts.

DVC also restores single stages, but each time it reads and writes the complete dvc.lock under one
lock. Restoring all stages at once takes a second or two.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from augrec.core.files import write_text
from augrec.core.settings import Settings
from augrec.versioning import git, previous_groups, publish, stages
from augrec.versioning.workspace import Workspace, record

EARLY: Final = ("configure", "select")
"""Stages that take seconds and are run at once where their inputs are there: whether the stages
behind them are unchanged depends on the one file of each component that they write, not on all they
read."""


def restore_unchanged(settings: Settings, run: Workspace) -> Workspace:
    """Copy the current raw data into the workspace and restore every output that is unchanged since
    the latest published run; idempotent.

    DVC will run the other stages, or restore them one by one.

    Returns:
        The workspace; `restored` names the stages that need not run.
    """
    plan = stages.plan(run.path)
    raw = run.path / "data" / "raw"
    _remove(raw)
    if _write_lock(run.path, _latest_lock(settings), {stage.name for stage in plan}):
        stages.checkout(run.path)
    shutil.copytree(settings.home / "data" / "raw", raw)
    stages.snapshot(run.path, "data/raw")
    previous_groups.bring(settings, run)
    outdated = _outdated(plan, set(stages.unfinished(run.path)))
    for name in (stage.name for stage in plan if stage.name in EARLY):
        mine = next((stage for stage in outdated if stage.name == name), None)
        if mine is not None and not _outdated_before(mine, outdated):
            stages.run_stage(run.path, name)
            outdated = _outdated(plan, set(stages.unfinished(run.path)))
    for stage in outdated:
        for out in stage.outs:
            _remove(run.path / out)  # outputs of an earlier run
    names = {stage.name for stage in outdated}
    restored = replace(run, restored=[stage.name for stage in plan if stage.name not in names])
    record(restored)
    return restored


def _latest_lock(settings: Settings) -> str:
    tags = publish.tags(settings)
    return git.git(settings.home, "show", f"{tags[-1]}:dvc.lock") if tags else ""


def _write_lock(workspace: Path, lock: str, names: set[str]) -> bool:
    """Write the entries of the stages `names` to the workspace's dvc.lock; False if there are
    none."""
    entries = (yaml.safe_load(lock) or {}).get("stages", {})
    kept = {name: entry for name, entry in entries.items() if name in names}
    if kept:
        write_text(
            workspace / "dvc.lock",
            yaml.safe_dump({"schema": "2.0", "stages": kept}, sort_keys=False),
        )
    return bool(kept)


def _outdated(plan: list[stages.Stage], changed: set[str]) -> list[stages.Stage]:
    """Stages that changed, and all that depend on them; `plan` lists dependencies first."""
    outdated: list[stages.Stage] = []
    for stage in plan:
        if stage.name in changed or _outdated_before(stage, outdated):
            outdated.append(stage)
    return outdated


def _outdated_before(stage: stages.Stage, outdated: list[stages.Stage]) -> bool:
    """Whether a stage reads what another outdated stage has yet to write."""
    return any(_overlap(dep, out) for other in outdated for out in other.outs for dep in stage.deps)


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)  # removes links to the cache, or copies, never the cache itself
    else:
        path.unlink(missing_ok=True)
