"""Reads the tables that `data.source` in params.yaml names into data/raw, and triggers `retrain`
when they changed."""

from __future__ import annotations

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from augrec.orchestration.operators import failing_clearly
from augrec.orchestration.schedule import DEFAULTS, RAW_DATA, every

DOC = """
Reads your interactions, items and users, as configured by `data.source` and `data.import` in
params.yaml, and writes data/raw completely or not at all. If the tables changed, the asset
*raw_data* is updated, which starts `retrain`; if not, the task is skipped. Unpause the DAG to read
the tables every night at 01:00 UTC.
"""


@task(outlets=[RAW_DATA], retries=3, retry_exponential_backoff=True, doc_md=DOC)
def ingest() -> None:
    """Read the tables; the task is skipped when they have not changed."""
    from augrec.core import settings
    from augrec.orchestration.import_data import import_data

    with failing_clearly():
        done = import_data(settings.load(), {})
    if not done.changed:
        raise AirflowSkipException("the tables have not changed: nothing to retrain on")


with DAG(
    "ingest",
    schedule=every("0 1 * * *"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    doc_md=DOC,
    tags=["augrec"],
    description="Read your tables into data/raw; retrain when they changed.",
):
    ingest()
