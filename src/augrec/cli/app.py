"""The `augrec` command: its groups, and how its errors look."""

from __future__ import annotations

from collections.abc import Callable

import typer

from augrec.cli import cross_validate, data, models, runs, serving
from augrec.cli.terminal import run_command

HELP = """Retrain recommenders, and let synthetic data in only where it proves that it helps.

[bold]augrec demo[/] does all of this on MovieLens 100k, in a few minutes:

  [bold]augrec data get[/]          bring interactions in (or import, simulate)
  [bold]augrec up[/]                start Airflow and MLflow
  [bold]augrec run[/]               retrain, and follow it stage by stage
  [bold]augrec models[/]            what is registered, and who is champion
  [bold]augrec recommend -u 42[/]   ask the champion

Every command explains itself: [bold]augrec run --help[/].
What a run does is set in params.yaml. Ports and folders: AUGREC_AIRFLOW_PORT, AUGREC_MLFLOW_PORT, AUGREC_VAR.
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
    "Runs": [runs.demo, runs.up, runs.down, runs.status, runs.run, runs.report, runs.prune],
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
    """Run the command line; errors are told without a traceback."""
    run_command(cli)
