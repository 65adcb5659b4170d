"""`augrec up`, `run`, `status`, `report`, `prune`, `demo`: the platform and what runs on it."""

from __future__ import annotations

import json
import shutil
import time
import webbrowser
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from augrec.cli.terminal import console, short_path
from augrec.core import settings as settings_
from augrec.core.errors import ConfigError, InputError
from augrec.core.settings import Settings

LISTS: Final = ("generators", "policies", "recommenders")
FIELDS: Final = (
    *LISTS,
    "data_start",
    "data_end",
    "repetitions",
    "max_synthetic_ratio",
    "tuning_trials",
    "tuning_seconds",
    "require_approval",
    "dry_run",
)
"""The fields of the trigger form; named here too, since reading the form itself takes Airflow
seconds to import."""


def demo() -> None:
    """The whole thing on MovieLens 100k: fetch data, start the platform, retrain, show the result.

    Data that is there already is used as it is. A second run restores every
    stage whose data, parameters and code are unchanged.
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
    _check_files(here)
    run_and_show(here, {})
    console.print(
        f"\n{time.monotonic() - started:.0f} s in all. Airflow and MLflow go on running until "
        "`augrec down`.",
        style="dim",
    )
    console.print(
        "Next: `augrec recommend --user 42` asks the champion; `augrec report --open` shows the "
        "report; "
        "`augrec data import --help` brings your own data.",
        style="dim",
    )
    if shutil.which("augrec") is None:
        console.print(
            "`source .venv/bin/activate` puts the command augrec on your path.", style="dim"
        )


def up() -> None:
    """Start Airflow, MLflow and the service on this machine and wait until they answer.

    They listen on 127.0.0.1, Airflow on port 8080, MLflow on 5000, the service on 8000; where those
    are taken:

      $ AUGREC_AIRFLOW_PORT=8090 AUGREC_MLFLOW_PORT=5010 AUGREC_SERVING_PORT=8010 augrec up
    """
    from augrec.orchestration import platform

    here = settings_.load()
    platform.up(here, say=lambda text: console.print(text, style="dim"))
    _where(here)


def down() -> None:
    """Stop Airflow, MLflow and the service. Runs, models and data stay; a run that is under way
    fails."""
    from augrec.orchestration import platform

    console.print("Stopped." if platform.down(settings_.load()) else "Nothing was running.")


def run(
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            autocompletion=lambda: [f"{name}=" for name in FIELDS],
            help="Set a field of the trigger form for this run; repeatable. Fields: "
            f"{', '.join(FIELDS)}.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute and report everything; register nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for it.")] = False,
) -> None:
    """Trigger a retrain in Airflow and follow it.

    What is not said here comes from params.yaml. With uncommitted changes every run is a dry run.

      $ augrec run
      $ augrec run --dry-run -p recommenders=ease,multvae -p policies=none,truncation,profile_gan
      $ augrec run -p data_start=2024-01-01 -p require_approval=true
      $ augrec run -p tuning_trials=20 -p tuning_seconds=600
    """
    conf = dict(_parse_param(text) for text in param or [])
    here = settings_.load()
    if dry_run:
        conf["dry_run"] = True
    _check_files(here)
    if detach:
        from augrec.orchestration.client import Airflow

        started = Airflow(here).trigger("retrain", conf)
        console.print(f"Started {started}. `augrec status` shows how it goes.", highlight=False)
    else:
        from augrec.cli.follow_run import run_and_show

        run_and_show(here, conf)


def status() -> None:
    """What runs, where, and the latest runs."""
    from augrec.orchestration import platform
    from augrec.orchestration.client import Airflow

    here = settings_.load()
    state = platform.health(here)
    if not state.running:
        console.print("The platform is not running. `augrec up` starts it.")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for part, well in state.parts.items():
        table.add_row(part, "[green]well[/]" if well else "[red]does not answer[/]")
    console.print(table)
    _where(here)
    if state.parts["api-server"]:
        latest = Airflow(here).latest_runs("retrain")
        console.print(_runs(latest) if latest else "No run yet: `augrec run` starts one.")


def report(
    run_id: Annotated[
        str, typer.Argument(help="A run id, or ab; the latest run when left out.")
    ] = "",
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    conversions: Annotated[
        str, typer.Option(help="ab: events that are conversions, with commas.")
    ] = "purchase",
    since: Annotated[
        str, typer.Option(help="ab: only answers from this day on, e.g. 2026-05-31.")
    ] = "",
) -> None:
    """Print where the report of a run is, the latest run's when none is named.

    `augrec report ab` compares what users did with the champion's and the challenger's
    recommendations.
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
            fix="`augrec run` makes one; `augrec status` lists the latest runs",
        )
    console.print(str(reports[-1]), soft_wrap=True, highlight=False)
    if open_ and not webbrowser.open(reports[-1].as_uri()):
        raise InputError(
            "no browser could be opened here",
            where=str(reports[-1]),
            fix="open that file yourself: it is one file that loads nothing from anywhere",
        )


def prune(
    keep: Annotated[
        int, typer.Option(help="So many of the latest published runs stay whole.", min=1)
    ] = 10,
) -> None:
    """Free disk space: remove the workspaces of old published runs.

    Their reports stay, and so do their commits and data, from which `augrec
    reproduce` rebuilds. Runs that are under way, failed or dry are left alone.
    """
    from augrec.versioning.prune import prune

    freed = prune(settings_.load(), keep)
    for run_id, size in freed.items():
        console.print(f"{run_id}  {size / 1e6:,.0f} MB", highlight=False)
    total = f"{sum(freed.values()) / 1e6:,.0f} MB freed."
    console.print(
        total if freed else f"Nothing to remove: no published run is older than the latest {keep}."
    )


def _check_files(here: Settings) -> None:
    """Read params.yaml and dvc.yaml once: where they cannot be read, a run would wait for them
    without a word.

    Raises:
        ConfigError: one is missing or is not YAML.
    """
    import yaml

    for name in ("params.yaml", "dvc.yaml"):
        try:
            yaml.safe_load((here.home / name).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            raise ConfigError(
                f"{name} cannot be read: {getattr(error, 'problem', None) or error}",
                where=str(here.home / name) + (f", line {mark.line + 1}" if mark else ""),
                fix="mend that line; `git diff` shows what was changed last",
            ) from error


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


def _where(here: Settings) -> None:
    from augrec.orchestration.environment import USER, password_file

    login = f"({USER}, password in {short_path(password_file(here))})"
    console.print(f"Airflow  {here.airflow_url}  {login}", soft_wrap=True, highlight=False)
    console.print(f"MLflow   {here.mlflow_url}", highlight=False)
    console.print(f"Service  {here.serving_url}", highlight=False)


def _parse_param(text: str) -> tuple[str, Any]:
    """One --param: the value is JSON, or a plain text; lists may also be written a,b,c.

    Raises:
        ConfigError: it is not name=value, or the form has no such field.
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
            fix=f"fields: {', '.join(FIELDS)}; anything else is set in params.yaml",
        )
    try:
        return name, json.loads(value)
    except ValueError:
        listed = [part.strip() for part in value.split(",") if part.strip()]
        return name, listed if name in LISTS else value
