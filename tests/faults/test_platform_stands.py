"""The platform loses its parts, tasks and databases, and goes on. One platform and one run serve
all tests of this file; `outage` says what happens to them, in order."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from platform_project import Project, Run, shop

from augrec.orchestration import platform, supervisor
from augrec.registry import models, promotion
from augrec.versioning import git

pytestmark = pytest.mark.platform

LOCKED_S = 25.0
SLOW = {"recommenders.multvae.steps": 700}
"""A training that works long enough for the scheduler to be killed during it."""


@dataclass
class Outage:
    """What was seen while parts, tasks and databases failed.

    Attributes:
        restarted: of each killed part, the parts that have another process than before.
        service: of each killed part, the service's answer right after.
        orphans: processes of stages that were still there when the scheduler had started again.
        restarts: of each part, before and after its databases were locked.
        healed: the processes before supervisord was killed, and after the next `augrec up`.
        run: the run, at its end.
        status: what `augrec status` said at the end.
    """

    restarted: dict[str, set[str]] = field(default_factory=dict)
    service: dict[str, int] = field(default_factory=dict)
    orphans: list[psutil.Process] = field(default_factory=list)
    restarts: list[dict[str, int]] = field(default_factory=list)
    healed: list[dict[str, supervisor.Process]] = field(default_factory=list)
    run: Run | None = None
    status: str = ""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with shop(tmp_path_factory.mktemp("faults")) as made:
        made.commit(SLOW)
        git.git(made.home, "checkout", "--quiet", "--detach")
        with made.platform():
            yield made


@pytest.fixture(scope="module")
def outage(project: Project) -> Outage:
    seen = Outage()
    run_id = project.start(
        "battered", policies=["none"], recommenders=["multvae"], require_approval=True
    )
    _kill_task(project, run_id)
    project.stage_process(run_id, "train", worked_s=1)
    seen.orphans = _kill_scheduler(project)
    for part in supervisor.PARTS:
        if part != "scheduler":
            _kill_part(project, part, seen)
    project.wait(lambda: platform.health(project.settings).ready, "all parts", run_id)
    seen.restarts.append(platform.health(project.settings).restarts)
    _lock(project, LOCKED_S)
    seen.restarts.append(platform.health(project.settings).restarts)
    seen.status = project.augrec("status")
    project.reached(run_id, "approve", "awaiting_input")
    seen.healed.append(supervisor.processes(project.settings))
    psutil.Process(_pid(project)).kill()
    project.augrec("up")
    seen.healed.append(supervisor.processes(project.settings))
    _let_approval_expire(project)
    seen.run = project.ended(run_id)
    return seen


def test_a_killed_part_is_started_again_and_takes_no_other_with_it(outage: Outage) -> None:
    assert outage.restarted == {part: {part} for part in outage.restarted}
    assert set(outage.restarted) == set(supervisor.PARTS) - {"scheduler"}


def test_the_service_answers_while_any_other_part_is_dead(outage: Outage) -> None:
    others = {part: status for part, status in outage.service.items() if part != "serving"}
    assert others and set(others.values()) == {200}


def test_the_status_shows_how_often_each_part_was_started_again(outage: Outage) -> None:
    lines = [line for line in outage.status.splitlines() if line.startswith(supervisor.PARTS)]
    assert len(lines) == len(supervisor.PARTS), outage.status
    assert all("healthy" in line and "restarted 1 time" in line for line in lines), outage.status


def test_a_dead_scheduler_leaves_no_stage_running(outage: Outage) -> None:
    assert outage.orphans == []


def test_a_locked_database_ends_no_part(outage: Outage) -> None:
    before, after = outage.restarts
    assert after == before


def test_after_supervisord_was_killed_up_starts_every_part_anew(outage: Outage) -> None:
    before, after = outage.healed
    assert all(found.pid is not None and found.restarts == 0 for found in after.values())
    assert not {one.pid for one in before.values()} & {one.pid for one in after.values()}


def test_the_run_goes_on_through_all_of_it_to_its_end(outage: Outage) -> None:
    assert outage.run is not None
    assert outage.run.state == "success", outage.run.why
    tries = {task.task: task.try_number for task in outage.run.tasks}
    assert tries["snapshot"] == 2 and tries["train"] >= 2


def test_a_run_from_a_detached_head_is_published(project: Project, outage: Outage) -> None:
    assert outage.run is not None
    assert outage.run.states("publish") == {"success"}
    tagged = git.git(project.home, "rev-parse", f"run/{outage.run.id}^{{commit}}")
    assert [version.commit for version in models.versions()] == [tagged]


def test_without_an_answer_in_time_the_model_is_rejected(outage: Outage) -> None:
    assert outage.run is not None
    assert outage.run.states("promote") == {"skipped"}
    assert models.champion() is None
    assert [entry.kind for entry in promotion.log()] == ["reject"]


def _kill_task(project: Project, run_id: str) -> None:
    """Kill the process of the task that runs: it is the run's first, `snapshot`."""

    def running() -> psutil.Process | None:
        for process in psutil.process_iter():
            try:
                title = " ".join(process.cmdline())
                ours = process.environ().get("AUGREC_HOME") == str(project.home)
            except psutil.Error:
                continue
            if ours and re.match(r"airflow worker -- [0-9a-f-]{36}", title):
                return process
        return None

    project.wait(running, "the task snapshot", run_id, every_s=0.05).kill()


def _kill_scheduler(project: Project) -> list[psutil.Process]:
    """Kill the scheduler; stages that still run when another one has been started."""
    before = _processes(project)["scheduler"]
    psutil.Process(before).kill()
    _wait_for_another(project, "scheduler", before)
    return [
        process
        for process in psutil.process_iter()
        if any(word.startswith("augrec.stages.") for word in _words(process))
        and _words(process, "AUGREC_HOME") == [str(project.home)]
    ]


def _kill_part(project: Project, part: str, seen: Outage) -> None:
    before = _processes(project)
    psutil.Process(before[part]).kill()
    if part != "serving":
        address = f"{project.settings.serving_url}/health/live"
        seen.service[part] = httpx.get(address, timeout=10).status_code
    _wait_for_another(project, part, before[part])
    after = _processes(project)
    seen.restarted[part] = {name for name in before if before[name] != after[name]}


def _wait_for_another(project: Project, part: str, before: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        now = supervisor.processes(project.settings)[part].pid
        if now not in {None, before}:
            return
        assert time.monotonic() < deadline, f"{part} was not started again\n{project.log()}"
        time.sleep(0.2)


def _processes(project: Project) -> dict[str, int]:
    found = supervisor.processes(project.settings)
    return {part: one.pid for part, one in found.items() if one.pid is not None}


def _lock(project: Project, seconds: float) -> None:
    """Hold the write locks of the databases of Airflow, MLflow and Feast."""
    var = project.settings.var
    files = [var / "airflow/airflow.db", var / "mlflow/mlflow.db", *var.glob("feast/*.db")]
    held = [sqlite3.connect(path, timeout=60, isolation_level=None) for path in files]
    try:
        for connection in held:
            connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
    finally:
        for connection in held:
            connection.close()


def _let_approval_expire(project: Project) -> None:
    """Move the deadline of the waiting approval into the past."""
    path: Path = project.settings.var / "airflow/airflow.db"
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        database.execute(
            "UPDATE task_instance SET trigger_timeout = '2020-01-01 00:00:00' "
            "WHERE state = 'awaiting_input'"
        )


def _pid(project: Project) -> int:
    found = supervisor.pid(project.settings)
    assert found is not None
    return found


def _words(process: psutil.Process, variable: str | None = None) -> list[str]:
    """The words of a process's command line, or the value of one of its variables."""
    try:
        return process.cmdline() if variable is None else [process.environ().get(variable, "")]
    except psutil.Error:
        return []
