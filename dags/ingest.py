"""Reads the tables that `data.source` in params.yaml names into data/raw, and tells `retrain` when
they changed."""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowSkipException

from augrec.orchestration.assets import RAW_DATA
from augrec.orchestration.operators import failing_clearly

DOC = """
Reads your interactions, items and users, as `data.source` and `data.import` in params.yaml say, and writes data/raw whole or
not at all. When the tables changed, the asset *raw_data* is updated, which starts `retrain`; when they did not, the task is
skipped. Unpause it to read every night at 01:00 UTC.
"""


@task(outlets=[RAW_DATA], retries=3, retry_exponential_backoff=True, doc_md=DOC)
def ingest() -> None:
    """Read the tables; nothing follows when they are what they were."""
    from augrec.core import settings
    from augrec.orchestration.import_data import import_data

    with failing_clearly():
        changed = import_data(settings.load(), {})
    if not changed:
        raise AirflowSkipException("the tables are what they were: nothing to retrain on")


with DAG(
    "ingest",
    schedule=CronTriggerTimetable("0 1 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=DOC,
    tags=["augrec"],
    description="Read your tables into data/raw; retrain when they changed.",
):
    ingest()
