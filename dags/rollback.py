"""Makes the previous champion the champion again, for when a new model misbehaves."""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task

from augrec.orchestration.operators import failing_clearly
from augrec.orchestration.schedule import DEFAULTS

DOC = """
Swaps the aliases `champion` and `previous_champion`, verifies the model, and records your name and
reason in the promotion log. Nothing is retrained. Running it again returns to the newer model. A
run that had to wait for more than ten minutes, because the DAG was paused, is refused.
"""


@task(pool="promotion", retries=2, doc_md=DOC)
def rollback() -> dict[str, str | None]:
    """Return to the previous champion."""
    from augrec.orchestration import tasks

    context = get_current_context()
    with failing_clearly():
        return tasks.rollback(context["dag_run"], context["params"]["reason"])


with DAG(
    "rollback",
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,  # triggered while paused, it would only wait
    default_args=DEFAULTS,
    params={
        "reason": Param(
            "",
            type="string",
            minLength=3,
            title="Reason",
            description_md="Recorded in the promotion log.",
        )
    },
    doc_md=DOC,
    tags=["augrec"],
    description="Make the previous champion the champion again.",
):
    rollback()
