"""The `augrec` command: its groups, and how its errors look."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

from augrec.cli import data, models, runs
from augrec.errors import AugrecError

HELP = """Retrain recommenders, and let synthetic data in only where it proves that it helps.

The shortest way in:  [b]augrec demo[/b]  does everything below on MovieLens 100k.

[b]augrec data get ml-100k[/b]   or  data import, data simulate: bring interactions to data/raw
[b]augrec up[/b]                 start Airflow and MLflow
[b]augrec run[/b]                retrain, and follow it stage by stage
[b]augrec models[/b]             what is registered, and which version is the champion
[b]augrec recommend -u 42[/b]    ask the champion
"""

_typer = typer.Typer(
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_typer.add_typer(data.app, name="data")
_PANELS: dict[str, list[Callable[..., None]]] = {
    "Runs": [runs.demo, runs.up, runs.down, runs.status, runs.run, runs.report],
    "Models": [models.models, models.recommend, models.promote, models.rollback, models.reproduce],
}
for panel, commands in _PANELS.items():
    for command in commands:
        _typer.command(rich_help_panel=panel)(command)


def app() -> None:
    """Run the command line; errors of augrec's own are shown without a traceback."""
    try:
        _typer()
    except AugrecError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]{type(error).__name__}[/]: {error.what}", highlight=False)
        if error.where:
            console.print(f"  [dim]where[/] {error.where}", highlight=False, markup=True)
        if error.fix:
            console.print(f"  [dim]fix[/]   {error.fix}", highlight=False)
        sys.exit(error.exit_code)
