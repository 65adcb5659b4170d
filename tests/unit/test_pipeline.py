"""dags/ as Airflow's DAG processor sees it: read by a process of its own, without scheduler or
database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from augrec.orchestration import placement

HOME = Path(__file__).parents[2]
STAGES = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
READ = """
import json, sys
from datetime import UTC, datetime
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables import trigger

bag = DagBag(dag_folder=sys.argv[1])
dags = {
    name: {
        task.task_id: {
            "upstream": sorted(task.upstream_task_ids),
            "mapped": task.is_mapped,
            "retries": task.retries,
            "pool": task.pool,
            "queue": task.queue,
            "executor": task.executor,
            "doc": task.doc_md or "",
            "owner": task.owner,
            "group": task.task_group.group_id,
        }
        for task in dag.tasks
    }
    for name, dag in bag.dags.items()
}
slow_to_import = ("torch", "mlflow", "feast", "great_expectations", "dvc.repo", "polars", "numpy")
monday = datetime(2026, 6, 8, 9, tzinfo=UTC)
trigger.utcnow = lambda: monday
first = {
    name: DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[name]))
    .next_dagrun_info(last_automated_run_info=None)
    .run_after.isoformat(timespec="minutes")[:16]
    for name in ("retrain", "ingest")
}
heavy = [name for name in slow_to_import if name in sys.modules]
print(json.dumps({"dags": dags, "errors": bag.import_errors, "heavy": heavy, "first": first}))
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read_dags(tmp_path_factory.mktemp("airflow"), {"AUGREC_POOL_GPU": "gpu"})


def read_dags(folder: Path, profile: dict[str, str]) -> dict[str, Any]:
    """The DAGs as a profile makes them."""
    variables = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW_", "AUGREC_"))
        },
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AUGREC_HOME": str(HOME),
        "PYTHONPATH": str(HOME / "src"),
        **profile,
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, str(HOME / "dags")],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_every_dag_can_be_read(read: dict[str, Any]) -> None:
    assert read["errors"] == {}
    assert {path.stem for path in (HOME / "dags").glob("*.py")} == set(read["dags"])


def test_reading_the_dags_imports_nothing_heavy(read: dict[str, Any]) -> None:
    assert read["heavy"] == []


def test_the_tasks_of_retrain_contain_the_edges_of_dvc_yaml(read: dict[str, Any]) -> None:
    tasks = read["dags"]["retrain"]
    outputs = {
        out.partition("/${")[0]: name
        for name, stage in STAGES.items()
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]
    }
    for name, stage in STAGES.items():
        made = {
            owner
            for dep in stage["deps"]
            for out, owner in outputs.items()
            if owner != name
            and (f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/"))
        }
        assert made <= set(tasks[name]["upstream"]), name
        assert tasks[name]["mapped"] == ("matrix" in stage)


def test_generators_train_in_a_pool_and_every_stage_is_tried_again_and_explained(
    read: dict[str, Any],
) -> None:
    tasks = read["dags"]["retrain"]
    for name in STAGES:
        assert tasks[name]["pool"] == ("gpu" if name == "train_generator" else "default_pool")
        assert tasks[name]["queue"] == "default" and tasks[name]["executor"] is None
        assert tasks[name]["retries"] == 2
    assert [name for name, task in tasks.items() if not task["doc"]] == []


def test_a_profile_places_each_kind_of_work(tmp_path: Path) -> None:
    profile = {f"AUGREC_QUEUE_{kind.upper()}": f"queue-{kind}" for kind in placement.WORK}
    executor = {
        "AUGREC_EXECUTOR_GPU": "gpu",
        "AIRFLOW__CORE__EXECUTOR": "gpu:airflow.executors.local_executor.LocalExecutor",
    }
    found = read_dags(tmp_path, {**profile, **executor})
    assert found["errors"] == {}
    tasks = found["dags"]["retrain"]
    for name, stage in STAGES.items():
        work = stage["meta"].get("work", "cheap")
        assert tasks[name]["queue"] == f"queue-{work}"
        assert tasks[name]["executor"] == ("gpu" if work == "gpu" else None)
    assert {stage["meta"].get("work", "cheap") for stage in STAGES.values()} == set(placement.WORK)
    aside = {task["queue"] for name, task in tasks.items() if name not in STAGES}
    assert aside | {found["dags"]["ingest"]["ingest"]["queue"]} == {"queue-project"}


def test_a_task_that_is_killed_is_tried_again_whichever_it_is(read: dict[str, Any]) -> None:
    for dag, tasks in read["dags"].items():
        assert [name for name, task in tasks.items() if task["retries"] < 2] == [], dag


def test_every_task_is_owned_and_every_task_of_retrain_is_in_a_group_of_its_kind(
    read: dict[str, Any],
) -> None:
    assert {task["owner"] for tasks in read["dags"].values() for task in tasks.values()} == {
        "augrec"
    }
    tasks = read["dags"]["retrain"]
    for name, stage in STAGES.items():
        assert tasks[name]["group"] == stage["meta"]["group"], name
    groups = {task["group"] for task in tasks.values()}
    assert groups == {"plan", "data", "generate", "training", "judge", "release"}
    helpers = {name for name in tasks if name.startswith("each_")}
    assert helpers and {tasks[name]["group"] for name in helpers} == {"plan"}


def test_a_dag_that_is_unpaused_after_its_time_waits_for_the_next(read: dict[str, Any]) -> None:
    # asked on a Monday at 09:00
    assert read["first"] == {"retrain": "2026-06-15T03:00", "ingest": "2026-06-09T01:00"}


def test_the_champion_is_moved_by_one_task_at_a_time_and_after_everything_else(
    read: dict[str, Any],
) -> None:
    tasks = read["dags"]["retrain"]
    assert tasks["promote"]["pool"] == "promotion"
    before, waiting = set(), ["promote"]
    while waiting:
        upstream = set(tasks[waiting.pop()]["upstream"]) - before
        before |= upstream
        waiting.extend(upstream)
    assert before == set(tasks) - {"promote"}
