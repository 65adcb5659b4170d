"""Starts Airflow's scheduler, so that it takes over at once from one that was killed:
`python -m augrec.orchestration.scheduler`.

Airflow considers a scheduler dead when its heartbeat is late, here after 90 s, because a locked
database delays it. But on this host there is only one, and `augrec.orchestration.part` has ended
the one before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

from augrec.versioning.preload import preload

_TASKS: Final = (
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.importers.python_importer",
    "airflow.providers.common.compat.standard.operators",
    "airflow.providers.common.io.assets.file",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.hitl",
    "airflow.sdk.execution_time.task_runner",
)
"""What every task loads to read its DAG: a quarter of a second for each of the sixty of a run."""


def main() -> None:
    """Declare the earlier schedulers of this host dead, then run one."""
    from airflow.__main__ import main as airflow
    from airflow.jobs.job import Job, JobState
    from airflow.utils.net import get_hostname
    from airflow.utils.session import create_session
    from sqlalchemy import update

    preload()  # LocalExecutor forks the tasks from here
    for module in _TASKS:
        import_module(module)
    with create_session() as session:
        session.execute(
            update(Job)
            .where(
                Job.job_type == "SchedulerJob",
                Job.state == JobState.RUNNING,
                Job.hostname == get_hostname(),
            )
            .values(state=JobState.FAILED)
        )
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()


if __name__ == "__main__":
    main()
