"""Decision, report and audits of the last logged run."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from augrec.core.errors import InputError
from augrec.registry import tracking
from augrec.registry.connection import client, experiment, mlflow_errors

DECISION, REPORT = "decision.json", "report.html"


@dataclass(frozen=True)
class LoggedRun:
    """A finished run in MLflow.

    Attributes:
        run_id: Airflow's run id.
        commit: the run's commit.
        finished: UTC.
        mlflow_id: id of its parent run in MLflow.
        outcome: why its version may serve, or why not; empty where it registered none.
    """

    run_id: str
    commit: str
    finished: datetime
    mlflow_id: str
    outcome: str = ""


@mlflow_errors("look up the last run")
def last() -> LoggedRun | None:
    """The last run with a decision; None before the first."""
    query = f"tags.`{tracking.ROLE}` = 'run' and attributes.status = 'FINISHED'"
    found = client().search_runs(
        [experiment()], query, max_results=20, order_by=["attributes.start_time DESC"]
    )
    decided = (run for run in found if "augrec.verdict" in run.data.tags)
    return next((_logged(run) for run in decided), None)


@mlflow_errors("read the decision")
def decision(run: LoggedRun) -> dict[str, Any]:
    """The run's decision.json.

    Raises:
        InputError: the file is missing.
    """
    return json.loads(_file(run.mlflow_id, DECISION))


@mlflow_errors("read the report")
def report(run: LoggedRun) -> str:
    """The run's report.html.

    Raises:
        InputError: the file is missing.
    """
    return _file(run.mlflow_id, REPORT)


@mlflow_errors("read the audits")
def audits(run: LoggedRun) -> dict[str, dict[str, Any]]:
    """{generator: its audit.json} of the generators that the run audited."""
    return {name: json.loads(text) for name, text in _of_generators(run, "audit.json").items()}


@mlflow_errors("read the audits")
def audit_pages(run: LoggedRun) -> dict[str, str]:
    """{generator: the HTML page of its audit}; generators without a page are left out."""
    return _of_generators(run, "index.html")


def _of_generators(run: LoggedRun, file: str) -> dict[str, str]:
    query = (
        f"tags.`mlflow.parentRunId` = '{run.mlflow_id}' and tags.`{tracking.ROLE}` = 'generator'"
    )
    children = client().search_runs([experiment()], query, order_by=["attributes.start_time ASC"])
    found = {}
    for child in children:
        with contextlib.suppress(InputError):
            name = child.data.tags[tracking.NAME]
            found[name] = _file(child.info.run_id, file)
    return found


def _file(mlflow_id: str, name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="augrec-run-") as folder:
        try:
            return Path(client().download_artifacts(mlflow_id, name, folder)).read_text(
                encoding="utf-8"
            )
        except OSError as error:
            raise InputError(
                f"the run has no {name}",
                where=f"MLflow run {mlflow_id}",
                fix="run it again",
            ) from error


def _logged(run: Run) -> LoggedRun:
    tags = run.data.tags
    milliseconds = run.info.end_time or run.info.start_time
    return LoggedRun(
        run_id=tags.get(tracking.RUN_ID) or tags.get(tracking.REPLACED, ""),
        commit=tags.get("augrec.commit", ""),
        finished=datetime.fromtimestamp(milliseconds / 1000, UTC),
        mlflow_id=run.info.run_id,
        outcome=tags.get(tracking.OUTCOME, ""),
    )
