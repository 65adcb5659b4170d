"""`augrec data …`: bring interactions to data/raw, and see what was synthesized from them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from augrec import settings as settings_

app = typer.Typer(help="Bring data in; list what was synthesized.", no_args_is_help=True)
console = Console()


class DataSet(StrEnum):
    """Data sets that can be fetched."""

    ML_100K = "ml-100k"


@app.command()
def get(name: Annotated[DataSet, typer.Argument(help="Which data set.")] = DataSet.ML_100K) -> None:
    """Fetch a public data set into data/raw."""
    from augrec.data import fetch
    from augrec.data.raw import write_raw

    here = settings_.load()
    console.print(fetch.TERMS, style="dim", highlight=False)
    found = fetch.movielens_100k(here.var / "downloads" / name)
    write_raw(here.home / "data" / "raw", *found, {"source": str(name), "taken_at": _now()})
    _show(here.home)


@app.command("simulate")
def simulate_(
    users: Annotated[int, typer.Option(help="How many users.")] = 2_000,
    items: Annotated[int, typer.Option(help="How many items.")] = 500,
    interactions: Annotated[int, typer.Option(help="About how many interactions.")] = 40_000,
    drift: Annotated[
        float, typer.Option(help="How far tastes move over the time simulated: 0 not at all, 1 completely.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.")] = 0,
) -> None:
    """Write a simulated shop into data/raw: tastes, a popularity power law, seasons, newcomers, new items."""
    from augrec.data.columns import Columns as C
    from augrec.data.raw import write_raw
    from augrec.data.simulate import ShopConfig, simulate

    home = settings_.load().home
    config = ShopConfig(n_users=users, n_items=items, n_interactions=interactions, drift=drift)
    found = simulate(config, seed)
    now = found.interactions[C.TIMESTAMP].max()  # in the shop; the same call then gives the same bytes
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
        str, typer.Option("--interactions", "-i", help="CSV or Parquet, or sql:TABLE.")
    ] = "",
    items: Annotated[str, typer.Option(help="The same for items; optional.")] = "",
    users: Annotated[str, typer.Option(help="The same for users; optional.")] = "",
    layout: Annotated[
        str, typer.Option(help="Instead: a public layout, such as movielens-1m; needs --folder.")
    ] = "",
    folder: Annotated[str, typer.Option(help="Where the files of --layout are.")] = "",
    connection: Annotated[str, typer.Option(help="Airflow connection id, for sql:TABLE.")] = "",
) -> None:
    """Read your own tables into data/raw.

    Columns are mapped under `data.import` in params.yaml; what is not said here is looked up under `data.source`. For
    sql:TABLE name an Airflow connection, or set AUGREC_SOURCE_URL to any SQLAlchemy URL: on the command line it could be
    read by others.
    """
    from augrec.orchestration import importing

    given = {
        "interactions": interactions,
        "items": items,
        "users": users,
        "layout": layout,
        "folder": folder,
        "connection": connection,
    }
    importing.import_tables(settings_.load(), given)
    _show(settings_.load().home)


@app.command()
def log() -> None:
    """Every synthetic dataset: the generator, data and run that made it, and the models that used it."""
    from augrec.versioning import lineage

    found = lineage.synthetic_datasets(settings_.load())
    if not found:
        console.print("No run has been published yet: `augrec run` makes one.")
        return
    table = Table(
        "sample",
        "generator",
        "learned from",
        "raw data",
        "made by run",
        "runs",
        "used by",
        title="Synthetic datasets",
    )
    for one in found:
        table.add_row(
            one.digest[:8],
            f"{one.generator} {one.generator_digest[:8]}",
            one.training_digest[:8],
            one.raw_digest[:8],
            one.first_run,
            str(len(one.runs)),
            "\n".join(one.models) or "none",
        )
    console.print(table)


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
    console.print(
        f"data/raw: {counts['interactions']:,} interactions, {counts['items']:,} items, {counts['users']:,} users with attributes"
    )
