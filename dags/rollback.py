"""Makes the previous champion the champion again: one click when a new model misbehaves."""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task

from augrec.orchestration.operators import failing_clearly

DOC = """
Moves the alias `champion` back to `previous_champion`, and the other way round, verifies it, and keeps your reason in the
promotion log. Nothing is retrained. Running it again returns to the newer model.
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
            "", type="string", minLength=3, title="Why", description_md="Kept in the promotion log."
        )
    },
    doc_md=DOC,
    tags=["augrec"],
    description="Make the previous champion the champion again.",
):
    rollback()
