"""Airflow under bursts of events and of requests, and with quick answers: its parts without the
rest of the platform, with DAGs that do little else, see `fault_dags`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from airflow_alone import PARTS, Alone, airflow_alone
from platform_project import RUN_TIMEOUT_S

from augrec.orchestration.client import DONE

pytestmark = pytest.mark.platform

EVENTS, WITHIN_S = 83, 24.0
"""So many once ended the DAG processor."""
AT_ONCE, WRITES = 8, 80


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("fault_dags.py"), folder / "dags")
    with airflow_alone(folder, tuple(PARTS)) as alone:
        client = alone.client
        # the first task of all waits for what Airflow loads only then
        client.wait_for_dag("of_events", timeout_s=RUN_TIMEOUT_S)
        run_id = client.trigger("of_events", run_id="first")
        alone.until(lambda: client.run_state("of_events", run_id) in DONE)
        yield alone


def test_requests_that_write_at_the_same_moment_all_succeed(airflow: Alone) -> None:
    def write(number: int) -> int:
        body = {"key": f"key {number}", "value": "1"}
        return airflow.client._http.post("/api/v2/variables", json=body).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert set(pool.map(write, range(WRITES))) == {httpx.codes.CREATED}


def test_a_burst_of_asset_events_ends_no_part_and_loses_no_task(airflow: Alone) -> None:
    call = airflow.client._call
    (asset,) = call("GET", "/api/v2/assets", params={"name_pattern": "events"})["assets"]
    began = time.monotonic()
    for number in range(EVENTS):
        time.sleep(max(0.0, began + number * WITHIN_S / EVENTS - time.monotonic()))
        call("POST", "/api/v2/assets/events", json={"asset_id": asset["id"]})

    def runs() -> list[str]:
        found = airflow.client.latest_runs("of_events", limit=EVENTS + 1)
        return [run["state"] for run in found if run["dag_run_id"] != "first"]

    airflow.until(lambda: runs() and not set(runs()) - DONE)
    assert set(runs()) == {"success"}
    assert [part for part, process in airflow.processes.items() if process.poll() is not None] == []


def test_an_answer_that_comes_at_once_resumes_the_task(airflow: Alone) -> None:
    client = airflow.client
    run_id = client.trigger("asks")

    def state() -> str:
        (ask,) = client.task_states("asks", run_id)
        return ask.state

    airflow.until(lambda: state() == "awaiting_input")
    client._call(
        "PATCH",
        f"/api/v2/dags/asks/dagRuns/{run_id}/taskInstances/ask/-1/hitlDetails",
        json={"chosen_options": ["Approve"], "params_input": {}},
    )
    airflow.until(lambda: client.run_state("asks", run_id) in DONE)
    assert state() == "success"
