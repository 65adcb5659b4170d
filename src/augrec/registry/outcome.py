"""Records why a run's version may serve, or why not, where people read about the run and the
version."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow.entities import RunTag

from augrec.core.errors import InputError
from augrec.registry import mlflow_versions, tracking
from augrec.registry.connection import MODEL, client, mlflow_errors
from augrec.registry.models import CHAMPION


@mlflow_errors("record the outcome of the run")
def record(run_id: str, decision: Mapping, version: str, outcome: str) -> None:
    """Record with a run, and with the version that it registered, why that may serve or why not.

    Args:
        run_id: Airflow's run id; the run must have been logged.
        decision: decision.json.
        version: the number of its winner's version.
        outcome: a sentence or two.

    Raises:
        InputError: the run was not logged.
    """
    parent = tracking.find_parent(run_id)
    if parent is None:
        raise InputError(
            "MLflow has no such run", where=f"run {run_id}", fix="log the run before its outcome"
        )
    outcome = outcome[:4000]
    words = tracking.described(decision, {**parent.data.tags, tracking.OUTCOME: outcome})
    tags = {tracking.OUTCOME: outcome, "augrec.version": version, "mlflow.note.content": words}
    client().log_batch(parent.info.run_id, tags=[RunTag(*tag) for tag in tags.items()])
    found = mlflow_versions.by_number(version)
    # an equal model of an earlier run keeps its own; so does the champion, which a run that is
    # cleared and runs again would compare with itself
    if found.tags.get("run_id") == run_id and CHAMPION not in found.aliases:
        client().set_model_version_tag(MODEL, version, tracking.OUTCOME, outcome)
        words = tracking.described(decision, {**found.tags, tracking.OUTCOME: outcome})
        client().update_model_version(MODEL, version, description=words)
