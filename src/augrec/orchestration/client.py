"""Airflow's REST API: trigger a run and follow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from augrec.core.errors import ConfigError, PermanentError, TransientError
from augrec.core.settings import Settings
from augrec.orchestration.environment import USER, password

DONE = {"success", "failed"}
_PAUSES_S = (1.0, 3.0)
"""Pauses before a call that failed in Airflow is repeated: on SQLite its API may wait for a lock
that it holds itself."""


@dataclass(frozen=True)
class TaskState:
    """One task instance: `member` is "" for tasks that are not mapped."""

    task: str
    member: str
    state: str
    map_index: int
    try_number: int


class Airflow:
    """A logged-in client of the platform's Airflow.

    Args:
        settings: the installation whose Airflow to call.

    Raises:
        TransientError: it does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=30)
        token = self._call(
            "POST", "/auth/token", json={"username": USER, "password": password(settings)}
        )["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def trigger(
        self, dag: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> str:
        """Start a run, unpausing the DAG; returns its run id.

        Raises:
            ConfigError: the parameters are not valid; contains Airflow's explanation.
        """
        self.wait_for_dag(dag)
        self._call("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": False})
        # the id is chosen here, so that a repeated call cannot start a second run
        run_id = run_id or f"manual__{datetime.now(UTC).isoformat()}"
        body = {"logical_date": None, "conf": dict(conf or {}), "dag_run_id": run_id}
        return self._call("POST", f"/api/v2/dags/{dag}/dagRuns", json=body)["dag_run_id"]

    def wait_for_dag(self, dag: str, timeout_s: float = 120.0) -> None:
        """Wait until the DAG processor has read a DAG.

        Raises:
            PermanentError: it has not within `timeout_s`, or a DAG file has an error; contains that
                error.
        """
        deadline = time.monotonic() + timeout_s
        while self._http.get(f"/api/v2/dags/{dag}").status_code != 200:
            errors = self._call("GET", "/api/v2/importErrors").get("import_errors", [])
            if errors:
                raise PermanentError(
                    "Airflow cannot read a DAG: "
                    f"{errors[0]['stack_trace'].strip().splitlines()[-1]}",
                    where=errors[0]["filename"],
                    fix="the whole traceback is on Airflow's home page",
                )
            if time.monotonic() > deadline:
                raise PermanentError(
                    f"Airflow has not found the DAG {dag} in {timeout_s:.0f} s",
                    where=str(self._settings.home / "dags"),
                    fix="check that there is a file for it; `augrec status` shows whether the DAG "
                    "processor runs",
                )
            time.sleep(0.5)

    def latest_runs(self, dag: str, limit: int = 5) -> list[dict[str, Any]]:
        """The latest runs, newest first, as Airflow describes them."""
        order = {"order_by": "-run_after", "limit": limit}
        return list(self._call("GET", f"/api/v2/dags/{dag}/dagRuns", params=order)["dag_runs"])

    def run_state(self, dag: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}")["state"]

    def task_states(self, dag: str, run_id: str) -> list[TaskState]:
        """Every task instance of a run, in no particular order."""
        found: list[TaskState] = []
        while True:
            page = self._call(
                "GET",
                f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances",
                params={"limit": 100, "offset": len(found)},
            )
            found += [
                TaskState(
                    one["task_id"],
                    one.get("rendered_map_index") or "",
                    one["state"] or "waiting",
                    one["map_index"],
                    one["try_number"],
                )
                for one in page["task_instances"]
            ]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def links(self, dag: str, run_id: str, task: str, map_index: int = -1) -> dict[str, str]:
        """The links on a task's page: name -> URL."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task}/links"
        found = self._call("GET", path, params={"map_index": map_index})["extra_links"]
        return {name: address for name, address in found.items() if address}

    def result(self, dag: str, run_id: str, task: str, map_index: int = -1) -> Any:
        """The return value of a task, or None."""
        answer = self._http.get(
            f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task}/xcomEntries/return_value",
            params={"map_index": map_index, "deserialize": True},
        )
        return answer.json()["value"] if answer.status_code == 200 else None

    def why_failed(self, dag: str, run_id: str, state: TaskState) -> str:
        """Why a task failed: the error it raised, else the last lines of its log."""
        answer = self._http.get(
            f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{state.task}/logs/{state.try_number}",
            params={"map_index": state.map_index},
            headers={"Accept": "application/json"},
        )
        events = answer.json().get("content", []) if answer.status_code == 200 else []
        raised = [
            error
            for event in events
            if isinstance(event, dict)
            for error in event.get("error_detail") or []
        ]
        if raised:
            return str(raised[0]["exc_value"])
        texts = [
            event if isinstance(event, str) else str(event.get("event", "")) for event in events
        ]
        return "\n".join(texts[-10:]) or "there is no log of the task; see var/logs/scheduler.log"

    def clear(self, dag: str, run_id: str, tasks: list[str]) -> None:
        """Clear tasks and all those downstream, so that they run again."""
        self._call(
            "POST",
            f"/api/v2/dags/{dag}/clearTaskInstances",
            json={
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": tasks,
                "include_downstream": True,
                "only_failed": False,
                "reset_dag_runs": True,
            },
        )

    def question(self, dag: str, run_id: str, task: str) -> str:
        """The question of a human-in-the-loop task, in Markdown."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task}/-1/hitlDetails"
        return str(self._call("GET", path)["body"])

    def respond(self, dag: str, run_id: str, task: str, option: str, *, reason: str = "") -> None:
        """Answer a human-in-the-loop task, e.g. with "Approve", and say why."""
        self._call(
            "PATCH",
            f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task}/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": {"reason": reason}},
        )

    def follow(
        self,
        dag: str,
        run_id: str,
        on_states: Callable[[list[TaskState]], None],
        *,
        every_s: float = 1.0,
    ) -> str:
        """Pass all task states to `on_states` every `every_s` seconds until the run ends; returns
        the run's final state."""
        while True:
            state = self.run_state(dag, run_id)
            on_states(self.task_states(dag, run_id))
            if state in DONE:
                return state
            time.sleep(every_s)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
            for pause in _PAUSES_S:
                if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                    break
                time.sleep(pause)
                answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise TransientError(
                f"Airflow does not answer: {error}",
                where=self._settings.airflow_url,
                fix="`augrec up` starts it, `augrec status` shows what runs",
            ) from error
        if answer.status_code in {400, 404, 409, 422}:
            raise ConfigError(
                f"Airflow refused: {_detail(answer)}",
                where=f"{method} {path}",
                fix="correct the parameters and try again",
            )
        if answer.is_error:
            raise TransientError(
                f"Airflow answered {answer.status_code}: {_detail(answer)}",
                where=f"{method} {path}",
                fix="see var/logs/api-server.log",
            )
        return answer.json() if answer.content else {}


def _detail(answer: httpx.Response) -> str:
    try:
        detail = str(answer.json().get("detail", answer.text))
        return detail.partition("\n\nFailed validating")[0]  # the rest is the JSON schema
    except ValueError:
        return answer.text[:500]
