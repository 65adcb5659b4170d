"""`augrec data …`: bring interactions to data/raw, and see what was synthesized from them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from augrec.cli.terminal import console, paragraphs
from augrec.core import settings as settings_

app = typer.Typer(help="Bring data in; list what was synthesized.", no_args_is_help=True)


LAYOUTS = (
    "movielens-100k",
    "movielens-1m",
    "movielens-latest",
    "movietweetings",
    "amazon",
    "recbole",
)
"""As in `augrec.data.sources`, which takes long to import."""


class DataSet(StrEnum):
    """Data sets that can be fetched."""

    ML_100K = "ml-100k"


@app.command()
def get(name: Annotated[DataSet, typer.Argument(help="Which data set.")] = DataSet.ML_100K) -> None:
    """Fetch a public data set into data/raw, in place of what is there."""
    from augrec.data import fetch
    from augrec.data.canonical import write_raw

    here = settings_.load()
    paragraphs(fetch.TERMS, "dim")
    found = fetch.movielens_100k(here.var / "downloads" / name)
    write_raw(here.home / "data" / "raw", *found, {"source": str(name), "taken_at": _now()})
    _show(here.home)


@app.command("simulate")
def simulate_(
    users: Annotated[int, typer.Option(help="How many users.", min=1)] = 2_000,
    items: Annotated[int, typer.Option(help="How many items.", min=1)] = 500,
    interactions: Annotated[int, typer.Option(help="About how many interactions.", min=1)] = 40_000,
    drift: Annotated[
        float,
        typer.Option(
            help="How far tastes move over the time simulated: 0 not at all, 1 completely.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.", min=0)] = 0,
) -> None:
    """Write a simulated shop into data/raw: tastes, a popularity power law, seasons, newcomers, new
    items.

    It takes the place of what is there. For trying things out, and for tests of scale:

      $ augrec data simulate
      $ augrec data simulate --users 50000 --items 5000 --interactions 1000000 --drift 0.3
    """
    from augrec.data.canonical import write_raw
    from augrec.data.columns import Columns as C
    from augrec.data.simulate import ShopConfig, simulate

    home = settings_.load().home
    config = ShopConfig(n_users=users, n_items=items, n_interactions=interactions, drift=drift)
    found = simulate(config, seed)
    now = found.interactions[
        C.TIMESTAMP
    ].max()  # in the shop; the same call then gives the same bytes
    source = {
        "source": "simulated shop",
        "seed": seed,
        "taken_at": str(now),
        **config.model_dump(mode="json"),
    }
    write_raw(home / "data" / "raw", *found, source)
    _show(home)


@app.command("import")
def import_(
    interactions: Annotated[
        str,
        typer.Option(
            "--interactions", "-i", help="CSV or Parquet file, folder of Parquet, or sql:TABLE."
        ),
    ] = "",
    items: Annotated[str, typer.Option(help="The same for items; optional.")] = "",
    users: Annotated[str, typer.Option(help="The same for users; optional.")] = "",
    layout: Annotated[
        str,
        typer.Option(
            autocompletion=lambda: LAYOUTS,
            help="Instead: a public dataset's layout; needs --folder. One of "
            f"{', '.join(LAYOUTS)}.",
        ),
    ] = "",
    folder: Annotated[str, typer.Option(help="Where the files of --layout are.")] = "",
    connection: Annotated[str, typer.Option(help="Airflow connection id, for sql:TABLE.")] = "",
) -> None:
    """Read your own tables into data/raw, in place of what is there.

    Say under data.import in params.yaml which of your columns is which. What is not said here is
    looked up there too, under data.source.

      $ augrec data import -i events.csv --items products.parquet
      $ augrec data import --layout movielens-1m --folder ~/ml-1m
      $ AUGREC_SOURCE_URL=postgresql://… augrec data import -i sql:events
      $ augrec data import -i sql:events --connection my_warehouse

    A database is named by an Airflow connection or by AUGREC_SOURCE_URL, any SQLAlchemy URL: an
    option could be read by other users of this machine.
    """
    from augrec.orchestration.import_data import import_data

    given = {
        "interactions": interactions,
        "items": items,
        "users": users,
        "layout": layout,
        "folder": folder,
        "connection": connection,
    }
    import_data(settings_.load(), given)
    _show(settings_.load().home)


@app.command()
def log() -> None:
    """Every synthetic dataset: the generator, data and run that made it, and the models that used
    it."""
    from augrec.versioning import lineage

    found = lineage.synthetic_datasets(settings_.load())
    if not found:
        console.print("No run has been published yet: `augrec run` makes one.")
        return
    console.print(
        "Synthetic datasets, oldest first; eight characters stand for a DVC hash.\n", style="dim"
    )
    for one in found:
        others = len(one.runs) - 1
        again = f" and {others} more" if others else ""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("sample", Text(one.digest[:8], "bold"))
        table.add_row("generator", f"{one.generator} {one.generator_digest[:8]}")
        table.add_row(
            "learned from",
            f"training set {one.training_digest[:8]} of raw data {one.raw_digest[:8]}",
        )
        table.add_row("made by", f"run {one.first_run}{again}")
        table.add_row("used by", ", ".join(one.models) or "no model")
        console.print(table)
        console.print()


def _now() -> str:
    """When a snapshot is taken: validation holds later timestamps for mistakes."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _show(home: Path) -> None:
    import polars as pl

    raw = home / "data" / "raw"
    counts = {
        name: pl.scan_parquet(raw / f"{name}.parquet").select(pl.len()).collect().item()
        for name in ("interactions", "items", "users")
    }
    kinds = len(pl.scan_parquet(raw / "users.parquet").collect_schema()) - 1
    attributes = f", {kinds} attribute{'' if kinds == 1 else 's'} each" if kinds else ""
    console.print(
        f"data/raw: {counts['interactions']:,} interactions, {counts['items']:,} items, "
        f"{counts['users']:,} users{attributes}",
        highlight=False,
    )
