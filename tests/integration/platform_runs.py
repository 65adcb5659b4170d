"""What happens to the runs of test_platform.py, and what stood before and after."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass, replace

import polars as pl
import psutil
from platform_project import Project, Run

from augrec.registry import models, promotion, tracking
from augrec.versioning import git, publish

SLOWER = {"generators.profile_gan.steps": 700, "recommenders.multvae.steps": 700}
"""Stages that work long enough to be killed in the midst of it."""


@dataclass(frozen=True)
class State:
    """All that a refused or dry run must leave as it is."""

    versions: list[models.Version]
    promotions: list[promotion.Promotion]
    tags: list[str]
    online: list[str]

    @classmethod
    def of(cls, project: Project) -> State:
        connection = sqlite3.connect(project.settings.online_store)
        try:
            online = list(connection.iterdump())
        finally:
            connection.close()
        return cls(models.versions(), promotion.log(), publish.tags(project.settings), online)

    def without_log(self) -> State:
        """All but the promotion log, whose entries are tags of versions."""
        versions = [
            replace(one, tags={k: v for k, v in one.tags.items() if not k.startswith("promotion.")})
            for one in self.versions
        ]
        return replace(self, versions=versions, promotions=[])

    def without_outcome(self, run_id: str) -> State:
        """All but what was said of the version of one run."""
        versions = [
            replace(one, tags={k: v for k, v in one.tags.items() if k != tracking.OUTCOME})
            if one.run_id == run_id
            else one
            for one in self.versions
        ]
        return replace(self, versions=versions)


@dataclass(frozen=True)
class Together:
    """Runs that were started together, and what stood before and after."""

    before: State
    after: State
    runs: dict[str, Run]


def hang_together(state: State) -> None:
    """Assert that the promotion log has no gaps and ends with the champion."""
    assert [move.number for move in state.promotions] == list(range(1, len(state.promotions) + 1))
    log = [move for move in state.promotions if move.kind != "reject"]
    assert [move.replaced for move in log] == [None, *[move.version for move in log[:-1]]]
    [champion] = [v.version for v in state.versions if models.CHAMPION in v.aliases]
    assert champion == log[-1].version
    [previous] = [v.version for v in state.versions if models.PREVIOUS in v.aliases]
    assert previous == log[-1].replaced


def kill_two_stages(project: Project) -> str:
    """A run two of whose stages are killed in the midst of their work; returns when it waits for
    approval."""
    project.commit(SLOWER)
    run_id = project.start(
        "killed", policies=["none", "profile_gan"], recommenders=["multvae"], require_approval=True
    )
    stage = project.stage_process(run_id, "train_generator", worked_s=3)
    stage.kill()  # as the kernel does when memory runs out
    draft = project.look(run_id).path / "models" / "generators" / ".profile_gan.half-way"
    draft.mkdir()  # what a stage leaves that is killed while it writes
    (draft / "curve.csv").write_text("step")
    stage = project.stage_process(run_id, "train", worked_s=3)
    task = psutil.Process(int(stage.environ()["AUGREC_STARTER"]))
    task.kill()  # the Airflow task itself: its stage must not go on without it
    psutil.wait_procs([stage], timeout=60)
    assert not stage.is_running(), "the stage outlived its task"
    project.reached(run_id, "approve", "awaiting_input")
    return run_id


def refuse(project: Project, *, cleared: str) -> Together:
    """Runs on data that cannot be used, one with an uncommitted change, and an old one of which
    tasks are cleared."""
    raw, kept = project.home / "data" / "raw", project.home / "var" / "kept"
    shutil.copytree(raw, kept)
    before = State.of(project)
    project.airflow.clear("retrain", cleared, ["evaluate"])
    table = pl.read_parquet(raw / "interactions.parquet")
    spoiled = {
        "few": table.head(50),
        "bad": table.with_columns(
            item_id=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("item_id")
        ),
    }
    for name, rows in spoiled.items():
        rows.write_parquet(raw / "interactions.parquet")
        project.start(name)
        project.reached(name, "snapshot", "success")
    shutil.rmtree(raw)
    shutil.copytree(kept, raw)
    with (project.home / "params.yaml").open("a") as params:
        params.write("# not committed yet\n")
    (project.home / "notes.txt").write_text("new here\n")
    project.start("uncommitted", policies=["none"], recommenders=["popularity"])
    project.reached("uncommitted", "snapshot", "success")
    git.git(project.home, "checkout", "--quiet", "--", "params.yaml")
    (project.home / "notes.txt").unlink()
    runs = {name: project.ended(name) for name in ("few", "bad", "uncommitted", cleared)}
    return Together(before, State.of(project), runs)
