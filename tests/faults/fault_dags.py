"""DAGs for tests: one that a burst of events starts, one that asks a question."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, task

EVENTS = Asset(uri="augrec://tests/events", name="events")
LINGERS_S = 8
"""Longer than Airflow takes to resume a task that was answered."""


@task
def one_task() -> None:
    """Nothing: the start of a task is what writes to Airflow's database."""


class Lingering(ApprovalOperator):
    """Asks, and a child that has its output open outlives it: what watches the task learns of its
    end only then, as it does on a busy machine. It would still be at work after the answer."""

    def execute(self, context: Any) -> None:
        subprocess.Popen(["sleep", str(LINGERS_S)])
        super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        time.sleep(LINGERS_S)
        return super().execute_complete(context, event)


with DAG("of_events", schedule=[EVENTS], catchup=False, max_active_runs=4):
    one_task()

with DAG("asks", schedule=None):
    Lingering(task_id="ask", subject="Now?")
