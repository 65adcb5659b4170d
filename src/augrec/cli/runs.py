"""`augrec up`, `run`, `status`, `report`, `demo`: the platform and what runs on it."""

from __future__ import annotations

import json
import sys
import time
import webbrowser
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from augrec import settings as settings_
from augrec.cli.progress import Progress
from augrec.errors import ConfigError, InputError, PermanentError
from augrec.files import read_json
from augrec.settings import Settings

console = Console(width=None if sys.stdout.isatty() else 100)


def demo() -> None:
    """The whole thing on MovieLens 100k: fetch data, start the platform, retrain, show the result."""
    here = settings_.load()
    started = time.monotonic()
    if not (here.home / "data" / "raw" / "interactions.parquet").exists():
        console.rule("1 · data")
        from augrec.cli import data

        data.get()
    console.rule("2 · platform")
    up()
    console.rule("3 · retrain")
    _run_and_show(here, {})
    console.print(
        f"[dim]{time.monotonic() - started:.0f} s in all. `augrec down` stops the platform, `make demo` runs it again.[/]"
    )


def up() -> None:
    """Start Airflow and MLflow on this machine and wait until they answer."""
    from augrec.orchestration import platform

    here = settings_.load()
    platform.up(here, say=lambda text: console.print(text, style="dim"))
    _where(here)


def down() -> None:
    """Stop Airflow and MLflow."""
    from augrec.orchestration import platform

    console.print("Stopped." if platform.down(settings_.load()) else "Nothing was running.")


def run(
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help='A field of the trigger form, e.g. -p policies=\'["none","truncation"]\'. Repeatable.',
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute and report everything; register nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for it.")] = False,
) -> None:
    """Trigger a retrain in Airflow and follow it."""
    conf = dict(_parse_param(text) for text in param or [])
    here = settings_.load()
    if dry_run:
        conf["dry_run"] = True
    if detach:
        from augrec.orchestration.client import Airflow

        console.print(f"Started {Airflow(here).trigger('retrain', conf)}. `augrec status` shows how it goes.")
    else:
        _run_and_show(here, conf)


def status() -> None:
    """What runs, where, and the latest runs."""
    from augrec.orchestration import platform
    from augrec.orchestration.client import Airflow

    here = settings_.load()
    state = platform.health(here)
    if not state.running:
        console.print("The platform is not running. `augrec up` starts it.")
        return
    table = Table(box=None, show_header=False)
    for part, well in state.parts.items():
        table.add_row(part, "[green]well[/]" if well else "[red]does not answer[/]")
    console.print(table)
    _where(here)
    if state.parts["api-server"]:
        latest = Table(
            "run", "state", "started", "took", title="Latest runs of retrain", title_justify="left"
        )
        for one in Airflow(here).latest_runs("retrain"):
            latest.add_row(
                one["dag_run_id"],
                one["state"],
                (one["start_date"] or "")[:19],
                f"{one['duration'] or 0:.0f} s",
            )
        console.print(latest)


def report(
    run_id: Annotated[str, typer.Argument(help="A run id; the latest when left out.")] = "",
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Where the report of a run is."""
    here = settings_.load()
    from augrec.versioning.workspace import folder_name

    reports = sorted(here.runs.glob("*/reports/report.html"), key=lambda path: path.stat().st_mtime)
    if run_id:
        reports = [path for path in reports if path.parts[-3] == folder_name(run_id)]
    if not reports:
        raise InputError(
            "there is no report",
            where=str(here.runs),
            fix="`augrec run` makes one; `augrec status` lists the runs",
        )
    console.print(str(reports[-1]), soft_wrap=True)
    if open_:
        webbrowser.open(reports[-1].as_uri())


def _run_and_show(here: Settings, conf: dict[str, Any]) -> None:
    from augrec.orchestration.client import Airflow
    from augrec.reporting import summary
    from augrec.versioning.workspace import path_of

    airflow = Airflow(here)
    run_id = airflow.trigger("retrain", conf)
    console.print(f"run [b]{run_id}[/b]", highlight=False)
    progress = Progress(here.home / "dvc.yaml")
    with Live(
        progress.table(), console=console, refresh_per_second=4, transient=not console.is_terminal
    ) as live:

        def seen(states: list[Any]) -> None:
            progress.update(states)
            live.update(progress.table())

        final = airflow.follow("retrain", run_id, seen)
    if not console.is_terminal:
        console.print(progress.table())
    if final != "success":
        _explain_failure(airflow, run_id)
    workspace = path_of(here, run_id)
    states = airflow.task_states("retrain", run_id)
    restored = {
        f"{state.task}@{state.member}" if state.member else state.task: airflow.result(
            "retrain", run_id, state.task, state.map_index
        )
        == "restored"
        for state in states
        if state.task in progress.stages and state.state == "success"
    }
    registered = airflow.result("retrain", run_id, "register") or {}
    promoted = any(state.task == "promote" and state.state == "success" for state in states)
    places = {
        "airflow": here.airflow_url,
        "mlflow": here.mlflow_url,
        "report": str(workspace / "reports" / "report.html"),
        "version": registered.get("version"),
        "champion": promoted,
        "note": registered.get("reason", "a dry run registers nothing"),
    }
    console.print(summary.table(read_json(workspace / "reports" / "decision.json"), restored, places))


def _explain_failure(airflow: Any, run_id: str) -> None:
    failed = [state for state in airflow.task_states("retrain", run_id) if state.state == "failed"]
    causes = [
        f"{state.task} {state.member}: {airflow.why_failed('retrain', run_id, state)}" for state in failed[:3]
    ]
    raise PermanentError(
        f"the run failed in {', '.join(sorted({state.task for state in failed}))}\n\n"
        + "\n\n".join(causes)
        + "\n",
        where=run_id,
        fix="mend the cause, then clear the failed task in Airflow: only it and what follows run again. The champion is "
        "as it was",
    )


def _where(here: Settings) -> None:
    from augrec.orchestration.environment import USER, password_file

    console.print(
        f"Airflow  {here.airflow_url}   user {USER}, password in {password_file(here)}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"MLflow   {here.mlflow_url}", highlight=False)


def _parse_param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"{text!r} is not name=value", where="--param", fix="for example --param max_synthetic_ratio=0.5"
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
