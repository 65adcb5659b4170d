"""`augrec up`, `worker`, `run`, `status`, `report`, `prune`, `demo`: the platform and its runs."""

from __future__ import annotations

import json
import shutil
import time
import webbrowser
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from augrec.cli.terminal import console, short_path
from augrec.core import settings as settings_
from augrec.core.config import closest
from augrec.core.errors import ConfigError, InputError
from augrec.core.settings import Settings
from augrec.orchestration.run_parameters import FIELDS, KEYS, LISTS, as_parameter


def demo() -> None:
    """Run everything on MovieLens 100k: get the data, start the platform, retrain, show the result.

    If data/raw already contains data, that data is used. A second run restores every stage whose
    data, parameters and code are unchanged.
    """
    from augrec.cli.follow_run import run_and_show

    here = settings_.load()
    started = time.monotonic()
    if not (here.home / "data" / "raw" / "interactions.parquet").exists():
        console.rule("1 · data")
        from augrec.cli import data

        data.get()
    console.rule("2 · platform")
    up()
    console.rule("3 · retrain")
    _check(here, {})
    run_and_show(here, {})
    console.print(
        f"\nTotal time: {time.monotonic() - started:.0f} s. The platform runs until `augrec down`.",
        style="dim",
    )
    console.print(
        "Next: `augrec recommend --user 42` shows recommendations of the champion; `augrec report "
        "--open` shows the report; `augrec data import --help` explains how to use your own data.",
        style="dim",
    )
    if shutil.which("augrec") is None:
        console.print(
            "`source .venv/bin/activate` adds the command augrec to your PATH.", style="dim"
        )


def up() -> None:
    """Start Airflow, MLflow and the recommendation service, and wait until they are ready.

    They listen on 127.0.0.1: Airflow on port 8080, MLflow on 5000, the service on 8000. If a port
    is in use:

      $ AUGREC_AIRFLOW_PORT=8090 AUGREC_MLFLOW_PORT=5010 AUGREC_SERVING_PORT=8010 augrec up
    """
    from augrec.orchestration import platform

    here = settings_.load()
    platform.up(here, say=lambda text: console.print(text, style="dim"))
    _where(here)


def down() -> None:
    """Stop Airflow, MLflow and the service; the next `augrec up` goes on with unfinished runs."""
    from augrec.orchestration import platform

    console.print("Stopped." if platform.down(settings_.load()) else "Nothing was running.")


def worker(
    queues: Annotated[
        str, typer.Option("--queues", "-q", help="the queues that it takes tasks of: a,b,c")
    ],
    tasks: Annotated[int, typer.Option(help="how many tasks it runs at a time", min=1)] = 1,
    name: Annotated[
        str, typer.Option(help="its name, where it is not the only one of its host")
    ] = "",
) -> None:
    """Run tasks of a platform on several hosts, until it is stopped.

    AUGREC_PROFILE names the profile of the platform, see docs/many-hosts.md.
    """
    from augrec.orchestration import supervisor

    supervisor.become_worker(settings_.load(), queues, tasks, name)


def run(
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            autocompletion=lambda: [f"{name}=" for name in FIELDS],
            help="Set a field of the trigger form for this run; can be repeated. Fields: "
            f"{', '.join(FIELDS)}.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute and report everything; register nothing.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start the run, but do not wait for its end.")
    ] = False,
) -> None:
    """Start a run of the DAG retrain in Airflow and show its progress.

    Fields that are not given are taken from params.yaml. With uncommitted changes every run is a
    dry run.

      $ augrec run
      $ augrec run --dry-run -p recommenders=ease,multvae -p policies=none,truncation,profile_gan
      $ augrec run -p data_start=2024-01-01 -p require_approval=true
      $ augrec run -p tuning_trials=20 -p tuning_seconds=600
    """
    conf = dict(_parse_param(text) for text in param or [])
    here = settings_.load()
    if dry_run:
        conf["dry_run"] = True
    _check(here, conf)
    if detach:
        from augrec.orchestration.client import Airflow

        started = Airflow(here).trigger("retrain", conf)
        console.print(f"Started {started}. `augrec status` shows its state.", highlight=False)
    else:
        from augrec.cli.follow_run import run_and_show

        run_and_show(here, conf)


def choose(
    write: Annotated[
        bool,
        typer.Option("--write", help="Write the names into params.yaml, in place of `auto`."),
    ] = False,
) -> None:
    """Print what `auto` under `run` in params.yaml stands for on the data in data/raw, and why; and
    how often the gate accepted generated data on data of that size.

    A run chooses by itself. `dvc repro` and single stages need the names in params.yaml:

      $ augrec choose --write
    """
    from augrec.stages.advice import check
    from augrec.versioning.workspace import override_params

    here = settings_.load()
    choice = check(here.home)
    for sentence in choice.sentences or ["Nothing under `run` in params.yaml is auto."]:
        console.print(sentence, highlight=False)
    if write:
        override_params(here.home / "params.yaml", choice.values)


def status() -> None:
    """Show which parts of the platform run, their addresses, and the latest runs."""
    from augrec.orchestration import platform
    from augrec.orchestration.client import Airflow

    here = settings_.load()
    state = platform.health(here)
    if not state.running:
        console.print("The platform is not running. `augrec up` starts it.")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for part, healthy in state.parts.items():
        table.add_row(
            part,
            "[green]healthy[/]" if healthy else "[red]does not respond[/]",
            _restarts(state.restarts[part]),
        )
    console.print(table)
    _where(here)
    if state.parts["api-server"]:
        latest = Airflow(here).latest_runs("retrain")
        console.print(_runs(latest) if latest else "There is no run yet: `augrec run` starts one.")


def report(
    run_id: Annotated[
        str, typer.Argument(help="A run id, or ab; default: the latest run with a report.")
    ] = "",
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    conversions: Annotated[
        str, typer.Option(help="ab: the events that count as conversions, separated by commas.")
    ] = "purchase",
    since: Annotated[
        str, typer.Option(help="ab: only answers since this day, e.g. 2026-05-31.")
    ] = "",
) -> None:
    """Print the path of a run's report.

    `augrec report ab` compares how users responded to the recommendations of the champion and of
    the challenger.
    """
    if run_id == "ab":
        from augrec.cli.serving import show_comparison

        show_comparison(conversions, since)
        return
    here = settings_.load()
    from augrec.versioning.workspace import folder_name

    reports = sorted(here.runs.glob("*/reports/report.html"), key=lambda path: path.stat().st_mtime)
    if run_id:
        reports = [path for path in reports if path.parts[-3] == folder_name(run_id)]
    if not reports:
        raise InputError(
            f"the run {run_id} has no report" if run_id else "there is no report yet",
            where=str(here.runs),
            fix="`augrec run` creates one; `augrec status` lists the latest runs",
        )
    page = reports[-1].with_name("index.html")  # names the run too
    page = page if page.exists() else reports[-1]
    console.print(str(page), soft_wrap=True, highlight=False)
    if open_ and not webbrowser.open(page.as_uri()):
        raise InputError(
            "no browser could be opened",
            where=str(page),
            fix="open that file yourself; it needs no network and no other files",
        )


def prune(
    keep: Annotated[
        int,
        typer.Option(help="Number of latest published runs whose workspaces are kept.", min=1),
    ] = 10,
) -> None:
    """Free disk space: remove the workspaces of old published runs.

    Their reports are kept, and so are their commits and data, from which `augrec reproduce`
    rebuilds them. Runs in progress, failed runs and dry runs are not touched.
    """
    from augrec.versioning.prune import prune

    freed = prune(settings_.load(), keep)
    for run_id, size in freed.items():
        console.print(f"{run_id}  {size / 1e6:,.0f} MB", highlight=False)
    total = f"{sum(freed.values()) / 1e6:,.0f} MB freed."
    console.print(
        total
        if freed
        else f"Nothing to remove: there are no published runs apart from the latest {keep}."
    )


def _check(here: Settings, conf: Mapping[str, Any]) -> None:
    """Refuse what cannot run before Airflow is asked to run it.

    Raises:
        ConfigError: naming the file, the section and what to write there.
    """
    from augrec.stages.advice import check

    given = {KEYS[name]: as_parameter(name, conf[name]) for name in conf if name in KEYS}
    for sentence in check(here.home, given).sentences:
        console.print(sentence, style="dim", highlight=False)


def _runs(latest: list[dict[str, Any]]) -> Table:
    table = Table(title="Latest runs of retrain", title_justify="left", box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, overflow="fold")
    for name in ("state", "started (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    for one in latest:
        started = (one["start_date"] or "–")[:16].replace("T", " ")
        took = f"{one['duration']:.0f} s" if one["duration"] else "–"
        table.add_row(one["dag_run_id"], one["state"], started, took)
    return table


def _restarts(count: int) -> str:
    return f"restarted {count} time{'' if count == 1 else 's'}, see var/logs" if count else ""


def _where(here: Settings) -> None:
    from augrec.orchestration.environment import USER, password_file

    login = f"({USER}, password in {short_path(password_file(here))})"
    console.print(f"Airflow  {here.airflow_url}  {login}", soft_wrap=True, highlight=False)
    console.print(f"MLflow   {here.mlflow_page}", highlight=False)
    console.print(f"Service  {here.serving_url}", highlight=False)


def _parse_param(text: str) -> tuple[str, Any]:
    """The name and value of a --param: the value is JSON or plain text; a list may also be written
    a,b,c.

    Raises:
        ConfigError: the text is not name=value, or the form has no such field.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"{text!r} is not name=value",
            where="--param",
            fix="for example --param max_synthetic_ratio=0.5",
        )
    if name not in FIELDS:
        raise ConfigError(
            f"the trigger form has no field {name!r}",
            where="--param",
            fix=f"{closest(name, FIELDS)}; other settings are changed in params.yaml",
        )
    try:
        return name, json.loads(value)
    except ValueError:
        listed = [part.strip() for part in value.split(",") if part.strip()]
        return name, listed if name in LISTS else value
