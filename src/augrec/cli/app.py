"""The `augrec` command and its groups of subcommands."""

from __future__ import annotations

import os
from collections.abc import Callable

import typer

from augrec.cli import config, cross_validate, data, models, runs, serving
from augrec.cli.terminal import run_command
from augrec.core import settings

HELP = """Retrain recommenders, and use synthetic data only where it is proven to help.

[bold]augrec demo[/] runs all of these steps on MovieLens 100k, in a few minutes:

  [bold]augrec data get[/]          download interactions (or: import, simulate)
  [bold]augrec up[/]                start Airflow, MLflow and the recommendation service
  [bold]augrec run[/]               retrain, and show the progress of each stage
  [bold]augrec models[/]            list the registered models and the champion
  [bold]augrec recommend -u 42[/]   recommendations of the champion for a user

Every command has its own help: [bold]augrec run --help[/]. params.yaml configures what a run does.
Environment variables set ports and folders: AUGREC_AIRFLOW_PORT, AUGREC_MLFLOW_PORT, AUGREC_VAR.
"""

cli = typer.Typer(
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(data.app, name="data", rich_help_panel="Data")
_PANELS: dict[str, list[Callable[..., None]]] = {
    "Runs": [
        runs.demo,
        runs.up,
        runs.down,
        runs.worker,
        runs.status,
        runs.run,
        runs.choose,
        runs.report,
        runs.prune,
        config.config,
    ],
    "Models": [
        models.models,
        cross_validate.cross_validate,
        models.recommend,
        models.promote,
        models.challenge,
        models.rollback,
        models.reproduce,
    ],
    "Serving": [serving.serve],
}
for panel, commands in _PANELS.items():
    for command in commands:
        cli.command(rich_help_panel=panel)(command)


def app() -> None:
    """Run the command line; errors are shown without a traceback."""
    run_command(_run)


def _run() -> None:
    if "AUGREC_PROFILE" in os.environ:
        from augrec.orchestration.environment import take_profile

        take_profile(settings.load())
    cli()
