"""Airflow's LocalExecutor, which resumes a task no sooner than it knows that the task's process
has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow.executors import local_executor
from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload
    from airflow.executors.workloads.types import WorkloadKey, WorkloadState

LONGEST_WAIT_S: Final = 60.0
"""After that the report is lost: the process that would have written it was killed."""


class LocalExecutor(local_executor.LocalExecutor):
    """Airflow's own, for tasks that wait for a person.

    Such a task's process ends when the task begins to wait, and reports success up to a heartbeat
    later. Airflow 3.3 resumes the task as soon as there is an answer, and then believes of an
    earlier report that the resumed task was killed (apache/airflow#72716). Here the resumed task
    waits for that report.

    It has the same name because Airflow knows a local executor by it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unreported: set[WorkloadKey] = set()
        self._held_since: dict[WorkloadKey, float] = {}

    def trigger_tasks(self, open_slots: int) -> None:
        """Start what is queued, apart from tasks whose former process has not reported its end."""
        now = time.monotonic()
        held = {}
        for key in [key for key in self.queued_tasks if key in self._unreported]:
            if now - self._held_since.setdefault(key, now) < LONGEST_WAIT_S:
                held[key] = self.queued_tasks.pop(key)
        super().trigger_tasks(open_slots)
        self.queued_tasks.update(held)

    def change_state(
        self,
        key: WorkloadKey,
        state: WorkloadState,
        info: Any = None,
        remove_running: bool = True,
    ) -> None:
        """Take a report from a task's process."""
        if state != TaskInstanceState.RUNNING:
            self._unreported.discard(key)
            self._held_since.pop(key, None)
        super().change_state(key, state, info, remove_running)

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        self._unreported.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)
