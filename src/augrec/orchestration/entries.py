"""The entries of dvc.lock that tasks hand on to those after them, through Airflow's XCom.

Where one host runs everything nothing is handed on: all stages write the same dvc.lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from augrec.core.settings import Settings
from augrec.orchestration.pipeline import read_pipeline
from augrec.versioning import cache_bound, exchange, hosts
from augrec.versioning.workspace import Workspace

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY: Final = "dvc.lock"
"""The key of a stage task's XCom with the stage's entry."""


def bring_inputs(settings: Settings, run: Workspace, name: str, context: Context) -> None:
    """Bring what a stage reads to this host."""
    if settings.git_remote is not None:
        stage = name.partition("@")[0]
        pipeline = read_pipeline(run.path / "dvc.yaml")
        [upstream] = [spec.upstream for spec in pipeline if spec.name == stage]
        exchange.bring(run.path, name, _handed_on(context, upstream))


def hand_on(settings: Settings, run: Workspace, name: str, context: Context) -> None:
    """Push what a stage has made, and hand its entry on."""
    if settings.git_remote is not None:
        if name not in run.restored:  # what was restored came from the remote
            exchange.push(run.path, [name])
        cache_bound.keep_within_bound(settings)
        context["ti"].xcom_push(key=KEY, value=exchange.entry(run.path, name))


def run_with_outputs(
    settings: Settings, context: Context, stages: Iterable[str] | None = None
) -> Workspace:
    """The workspace of the task's run, with what some stages of dvc.yaml, or all, have made."""
    run = hosts.join(settings, context["dag_run"].run_id)
    if settings.git_remote is not None:
        names = [spec.name for spec in read_pipeline(run.path / "dvc.yaml")]
        exchange.bring_outputs(run.path, _handed_on(context, names if stages is None else stages))
    return run


def _handed_on(context: Context, tasks: Iterable[str]) -> exchange.Entries:
    handed: list[exchange.Entries | None] = context["ti"].xcom_pull(task_ids=list(tasks), key=KEY)
    return {name: entry for entries in handed if entries for name, entry in entries.items()}
