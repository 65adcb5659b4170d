"""The end of a run: its results get a commit and a tag, its data goes to the DVC remote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augrec.core.errors import PermanentError
from augrec.core.settings import Settings
from augrec.versioning import git, stages
from augrec.versioning.workspace import Workspace, folder_name

TAG_PREFIX = "run/"
INPUTS = ("data/raw.dvc", "models/champion.dvc")
"""Pointers to what a run read; the second only where a policy continued the champion."""


@dataclass(frozen=True)
class Publication:
    """What a published run left behind.

    Attributes:
        commit: holds the run's dvc.lock, params.yaml and the pointers to what it read.
        tag: names that commit.
        pushed: files that were new to the DVC remote.
    """

    commit: str
    tag: str
    pushed: int


def publish(settings: Settings, workspace: Workspace) -> Publication:
    """Commit, tag and push a finished run; doing it twice changes nothing the second time.

    Raises:
        PermanentError: a stage's outputs do not belong to its inputs, so the run is not complete.
    """
    missing = stages.unfinished(workspace.path)
    if missing:
        raise PermanentError(
            f"the run is not complete: {', '.join(missing)}",
            where=str(workspace.path),
            fix="clear these stages in Airflow so that they run again, then this task",
        )
    pushed = stages.push(workspace.path, inputs(workspace.path))
    tag = f"{TAG_PREFIX}{folder_name(workspace.run_id)}"
    recorded = ["dvc.lock", "params.yaml", *inputs(workspace.path)]
    commit = git.commit(
        workspace.path, recorded, f"Run {workspace.run_id}\n\nStarted from {workspace.commit}."
    )
    git.git(settings.home, "tag", "--force", tag, commit)
    return Publication(commit, tag, pushed)


def inputs(folder: Path) -> list[str]:
    """Those of `INPUTS` that a workspace has."""
    return [name for name in INPUTS if (folder / name).exists()]


def tags(settings: Settings) -> list[str]:
    """Tags of published runs, oldest first."""
    listing = git.git(settings.home, "tag", "--list", f"{TAG_PREFIX}*", "--sort=creatordate")
    return listing.splitlines()
