"""Following a run to its end, and showing what came of it."""

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
    """Trigger `retrain`, follow it, and print its result.

    Raises:
        PermanentError: it failed; carries the failed tasks' own explanations.
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
            f"\nNo longer following. The run goes on in Airflow, {here.airflow_url}; `augrec "
            "status` shows how it ends."
        )
        raise typer.Exit(INTERRUPTED) from None
    if final != "success":
        _explain_failure(airflow, run_id)
    states = airflow.task_states("retrain", run_id)
    workspace = path_of(here, run_id)
    places = _outcome(airflow, run_id, states) | {
        "report": short_path(workspace / "reports" / "report.html"),
        "airflow": here.airflow_url,
        "mlflow": here.mlflow_url,
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
    """Show the run until it ends: a live table in a terminal, a line for each finished task
    elsewhere."""
    if not console.is_terminal or "CI" in os.environ:

        def told(states: list[TaskState]) -> None:
            progress.update(states)
            for line in progress.news():
                console.print(line)

        return airflow.follow("retrain", run_id, told)
    with Live(progress.table(), console=console, refresh_per_second=4) as live:

        def seen(states: list[TaskState]) -> None:
            progress.update(states)
            live.update(progress.table())

        return airflow.follow("retrain", run_id, seen)


def _restored(
    airflow: Airflow, run_id: str, states: list[TaskState], stages: list[str]
) -> dict[str, bool]:
    """For each stage that ended well, in the pipeline's order: whether it was restored instead of
    run."""
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
    """What became of the winner: version, champion, and a note that says why not."""
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
    """Why nothing was registered: asked for, or for want of a commit."""
    paths = snapshot.get("uncommitted")
    why = f" (uncommitted: {', '.join(paths)}; commit, then run again)" if paths else ""
    return f"a dry run registers nothing{why}"


def _is_champion(registered: dict[str, Any]) -> bool:
    """Whether a run found anew the very version that is champion."""
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
    names = ", ".join(sorted({state.task for state in failed})) or "a task that left no trace"
    raise PermanentError(
        f"the run failed in {names}; the champion is as it was\n\n"
        + "\n\n".join(causes)
        + more
        + "\n",
        where=f"run {run_id}",
        fix="mend the cause, then start anew with `augrec run`: what is unchanged is restored. Or "
        "clear the failed task "
        "in Airflow: only it and what follows run again, with the run's own data and parameters",
    )
