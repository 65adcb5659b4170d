"""Trigger a run, show its progress to its end, and print its result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import typer
from rich.live import Live

from augrec.cli.progress import Progress
from augrec.cli.terminal import INTERRUPTED, console, short_path
from augrec.core.errors import PermanentError
from augrec.core.files import read_json
from augrec.core.settings import Settings

if TYPE_CHECKING:
    from augrec.orchestration.client import Airflow, TaskState


def run_and_show(here: Settings, conf: dict[str, Any]) -> None:
    """Trigger `retrain`, show its progress, and print its result.

    Raises:
        PermanentError: the run failed; contains the errors of the failed tasks.
    """
    from augrec.orchestration.client import Airflow
    from augrec.reporting import run_summary
    from augrec.versioning.workspace import path_of

    airflow = Airflow(here)
    run_id = airflow.trigger("retrain", conf)
    console.print(f"run {run_id}", style="dim", highlight=False, soft_wrap=True)
    progress = Progress(here.home / "dvc.yaml")
    try:
        final = _follow(airflow, run_id, progress)
    except KeyboardInterrupt:
        console.print(
            f"\nThe run continues in Airflow, {here.airflow_url}; `augrec status` shows its state."
        )
        raise typer.Exit(INTERRUPTED) from None
    if final != "success":
        _explain_failure(airflow, run_id)
    states = airflow.task_states("retrain", run_id)
    workspace = path_of(here, run_id)
    places = _outcome(airflow, run_id, states) | {
        "report": short_path(workspace / "reports" / "report.html"),
        "airflow": here.airflow_url,
        "mlflow": here.mlflow_page,
        "service": here.serving_url,
    }
    console.print()
    found = run_summary.table(
        read_json(workspace / "reports" / "decision.json"),
        _restored(airflow, run_id, states, progress.stages),
        places,
    )
    console.print(found, crop=False)


def _follow(airflow: Airflow, run_id: str, progress: Progress) -> str:
    """Show the run until it ends: as a live table in a terminal, otherwise as a line for each
    finished task."""
    if not console.is_terminal or "CI" in os.environ:

        def print_finished(states: list[TaskState]) -> None:
            progress.update(states)
            for line in progress.finished_since_last_call():
                console.print(line)

        return airflow.follow("retrain", run_id, print_finished)
    with Live(progress.table(), console=console, refresh_per_second=4) as live:

        def redraw(states: list[TaskState]) -> None:
            progress.update(states)
            live.update(progress.table())

        return airflow.follow("retrain", run_id, redraw)


def _restored(
    airflow: Airflow, run_id: str, states: list[TaskState], stages: list[str]
) -> dict[str, bool]:
    """Whether each successful stage was restored instead of run, in the order of the pipeline."""
    ended = [state for state in states if state.task in stages and state.state == "success"]
    ended.sort(key=lambda state: (stages.index(state.task), state.map_index))
    return {
        f"{state.task}@{state.member}" if state.member else state.task: airflow.result(
            "retrain", run_id, state.task, state.map_index
        )
        == "restored"
        for state in ended
    }


def _outcome(airflow: Airflow, run_id: str, states: list[TaskState]) -> dict[str, Any]:
    """The winner's version, whether it is champion, and a note that explains why not."""
    ended = {state.task: state.state for state in states if not state.member}
    registered = airflow.result("retrain", run_id, "register") or {}
    note = registered.get("reason") or _dry(airflow.result("retrain", run_id, "snapshot") or {})
    if ended.get("approve") == "success" and ended.get("promote") == "skipped":
        note = "it was not approved"
    return {
        "version": registered.get("version"),
        "champion": ended.get("promote") == "success" or _is_champion(registered),
        "note": note,
    }


def _dry(snapshot: dict[str, Any]) -> str:
    """Why a dry run registered nothing: requested, or because of uncommitted changes."""
    paths = snapshot.get("uncommitted")
    why = f" (uncommitted: {', '.join(paths)}; commit them, then run again)" if paths else ""
    return f"a dry run registers nothing{why}"


def _is_champion(registered: dict[str, Any]) -> bool:
    """Whether the run produced the same version as the current champion."""
    return bool(registered) and str(registered["version"]) == str(registered["champion"])


def _explain_failure(airflow: Airflow, run_id: str) -> None:
    failed = [state for state in airflow.task_states("retrain", run_id) if state.state == "failed"]
    causes = [
        f"{state.task} {state.member}".strip()
        + ": "
        + airflow.why_failed("retrain", run_id, state).strip()
        for state in failed[:3]
    ]
    more = f"\n\n… and {len(failed) - 3} more" if len(failed) > 3 else ""
    names = ", ".join(sorted({state.task for state in failed})) or "an unknown task"
    raise PermanentError(
        f"the run failed in {names}; the champion has not changed\n\n"
        + "\n\n".join(causes)
        + more
        + "\n",
        where=f"run {run_id}",
        fix="fix the cause, then start a new run with `augrec run`, which restores unchanged "
        "stages. Or clear the failed task in Airflow: it and the tasks after it run again, with "
        "the data and parameters of this run",
    )
