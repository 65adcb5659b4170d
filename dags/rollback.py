"""Makes the previous champion the champion again, for when a new model misbehaves."""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task

from augrec.orchestration.operators import failing_clearly

DOC = """
Swaps the aliases `champion` and `previous_champion`, verifies the model, and records your reason
in the promotion log. Nothing is retrained. Running it again returns to the newer model.
"""


@task(pool="promotion", doc_md=DOC)
def rollback() -> dict[str, str | None]:
    """Return to the previous champion."""
    from augrec.registry import promotion

    context = get_current_context()
    with failing_clearly():
        moved = promotion.rollback(
            reason=context["params"]["reason"], by=f"run {context['dag_run'].run_id}"
        )
    return {"champion": moved.version, "replaced": moved.replaced}


with DAG(
    "rollback",
    schedule=None,
    max_active_runs=1,
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
