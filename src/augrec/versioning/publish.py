"""Publish a run: commit and tag its results, push its data to the DVC remote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augrec.core.errors import PermanentError
from augrec.core.settings import Settings
from augrec.versioning import git, lock_writer, stages
from augrec.versioning.workspace import Workspace, folder_name

TAG_PREFIX = "run/"
INPUTS = ("data/raw.dvc", "models/champion.dvc", "models/taste_groups.dvc")
"""DVC pointers to the inputs of a run; the second only if a policy continues the champion, the last
only if taste groups keep names that they had before."""


@dataclass(frozen=True)
class Publication:
    """A published run.

    Attributes:
        commit: contains the run's dvc.lock, params.yaml and `INPUTS`.
        tag: the tag of that commit.
        pushed: the number of files that were new to the DVC remote.
    """

    commit: str
    tag: str
    pushed: int


def publish(settings: Settings, workspace: Workspace) -> Publication:
    """Commit, tag and push a finished run; idempotent.

    Raises:
        PermanentError: the outputs of a stage are not up to date, so the run is not complete.
    """
    missing = stages.unfinished(workspace.path)
    if missing:
        raise PermanentError(
            f"the run is not complete: {', '.join(missing)}",
            where=str(workspace.path),
            fix="clear these stages in Airflow so that they run again, then this task",
        )
    names = [stage.name for stage in stages.plan(workspace.path)]
    lock_writer.arrange(workspace.path / "dvc.lock", names)
    pushed = stages.push(workspace.path, inputs(workspace.path))
    tag = f"{TAG_PREFIX}{folder_name(workspace.run_id)}"
    recorded = ["dvc.lock", "params.yaml", *inputs(workspace.path)]
    commit = git.commit(
        workspace.path, recorded, f"Run {workspace.run_id}\n\nStarted from {workspace.commit}."
    )
    git.git(settings.home, "tag", "--force", tag, commit)
    return Publication(commit, tag, pushed)


def inputs(folder: Path) -> list[str]:
    """Those `INPUTS` that a workspace contains."""
    return [name for name in INPUTS if (folder / name).exists()]


def tags(settings: Settings) -> list[str]:
    """Tags of published runs, oldest first."""
    listing = git.git(settings.home, "tag", "--list", f"{TAG_PREFIX}*", "--sort=creatordate")
    return listing.splitlines()
