"""`augrec data …`: write interactions to data/raw, and list synthetic datasets."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from augrec.cli.terminal import console, paragraphs, warnings_of
from augrec.core import settings as settings_

app = typer.Typer(
    help="Download, import or simulate data; list synthetic datasets.", no_args_is_help=True
)

LAYOUTS = (
    "movielens-100k",
    "movielens-1m",
    "movielens-latest",
    "movietweetings",
    "amazon",
    "recbole",
)
"""As in `augrec.data.sources`, which is slow to import."""


class DataSet(StrEnum):
    """Datasets that can be downloaded."""

    ML_100K = "ml-100k"


@app.command()
def get(name: Annotated[DataSet, typer.Argument(help="The dataset.")] = DataSet.ML_100K) -> None:
    """Download a public dataset into data/raw, replacing the data there."""
    from augrec.data import fetch
    from augrec.data.canonical import write_raw

    here = settings_.load()
    paragraphs(fetch.TERMS, "dim")
    found = fetch.movielens_100k(here.var / "downloads" / name)
    write_raw(here.home / "data" / "raw", *found, {"source": str(name), "taken_at": _now()})
    _show(here.home)


@app.command("simulate")
def simulate_(
    users: Annotated[int, typer.Option(help="Number of users.", min=1)] = 2_000,
    items: Annotated[int, typer.Option(help="Number of items.", min=1)] = 500,
    interactions: Annotated[
        int, typer.Option(help="Approximate number of interactions.", min=1)
    ] = 40_000,
    drift: Annotated[
        float,
        typer.Option(
            help="How much user tastes change over the simulated time: 0 not at all, 1 strongly.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    groups: Annotated[
        int, typer.Option(help="Groups of two to four users who also decide together.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.", min=0)] = 0,
) -> None:
    """Write a simulated shop to data/raw, replacing the data there.

    Users differ in taste and activity, item popularity follows a power law, activity has seasons,
    and new users and new items arrive over time. For trying augrec out, and for tests of scale:

      $ augrec data simulate
      $ augrec data simulate --users 50000 --items 5000 --interactions 1000000 --drift 0.3
      $ augrec data simulate --groups 300
    """
    from augrec.data.canonical import write_raw
    from augrec.data.columns import Columns as C
    from augrec.data.simulate import ShopConfig, simulate

    home = settings_.load().home
    config = ShopConfig(n_users=users, n_items=items, n_interactions=interactions, drift=drift)
    found, together = simulate(config, seed), None
    if groups:
        from augrec.data.simulate_groups import GroupsConfig, with_groups

        found, together = with_groups(found, config, GroupsConfig(n_groups=groups), seed)
    now = found.interactions[C.TIMESTAMP].max()  # simulated, so that the same call gives same bytes
    source = {
        "source": "simulated shop",
        "seed": seed,
        "taken_at": str(now),
        **config.model_dump(mode="json"),
    }
    if groups:
        source["n_groups"] = groups
    write_raw(home / "data" / "raw", *found, source, together)
    _show(home)


@app.command("import")
def import_(
    interactions: Annotated[
        str,
        typer.Option(
            "--interactions",
            "-i",
            help="A CSV, TSV or Parquet file, a folder of such files, sql:TABLE, or a quoted "
            '"sql:SELECT …".',
        ),
    ] = "",
    items: Annotated[str, typer.Option(help="The same for items; optional.")] = "",
    users: Annotated[str, typer.Option(help="The same for users; optional.")] = "",
    groups: Annotated[
        str, typer.Option(help="The same for people who decide together: group and member.")
    ] = "",
    group_interactions: Annotated[
        str, typer.Option(help="The same for what those groups chose.")
    ] = "",
    layout: Annotated[
        str,
        typer.Option(
            autocompletion=lambda: LAYOUTS,
            help="The layout of a public dataset, instead of own tables; requires --folder. "
            f"One of {', '.join(LAYOUTS)}.",
        ),
    ] = "",
    folder: Annotated[str, typer.Option(help="The folder with the files of --layout.")] = "",
    connection: Annotated[
        str, typer.Option(help="The id of an Airflow connection, for sql:TABLE.")
    ] = "",
) -> None:
    """Import your own tables into data/raw, replacing the data there.

    params.yaml maps your columns to those of augrec, under data.import. Options that are not given
    are taken from data.source there. At the end it says what it read, and what a run would make of
    it.

      $ augrec data import -i events.csv --items products.parquet
      $ augrec data import --layout movielens-1m --folder ~/ml-1m
      $ AUGREC_SOURCE_URL=postgresql://… augrec data import -i sql:events
      $ augrec data import -i sql:events --connection my_warehouse

    The database is given by an Airflow connection or by AUGREC_SOURCE_URL, an SQLAlchemy URL.
    There is no option for it, because other users of this machine can see the options of a command.
    """
    from augrec.orchestration.import_data import import_data

    given = {
        "interactions": interactions,
        "items": items,
        "users": users,
        "groups": groups,
        "group_interactions": group_interactions,
        "layout": layout,
        "folder": folder,
        "connection": connection,
    }
    from augrec.core.config import read_params
    from augrec.orchestration.import_preview import preview

    here = settings_.load()
    with warnings_of("augrec") as warnings:
        done = import_data(here, given)
    _show(here.home)
    _rows("Read from", list(done.origins.items()))
    _rows("Found", done.summary)
    with console.status("what a run would make of it …"):
        outlook = preview(done.tables, read_params(here.home), done.groups)
    _rows("What a run would make of it, with the settings of now", outlook)
    for warning in warnings:
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))


@app.command()
def log() -> None:
    """List the synthetic datasets: how each was made, and the models trained on it."""
    from augrec.versioning import lineage

    found = lineage.synthetic_datasets(settings_.load())
    if not found:
        console.print("There is no published run yet: `augrec run` starts one.")
        return
    console.print(
        "Synthetic datasets, oldest first. DVC hashes are cut to eight characters.\n", style="dim"
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
            "trained on",
            f"training set {one.training_digest[:8]} of raw data {one.raw_digest[:8]}",
        )
        table.add_row("made by", f"run {one.first_run}{again}")
        table.add_row("used by", ", ".join(one.models) or "no model")
        console.print(table)
        console.print()


def _rows(title: str, rows: list[tuple[str, str]]) -> None:
    console.print(f"\n{title}", style="bold", highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for subject, text in rows:
        table.add_row(f"  {subject}", Text(text, "red" if subject == "refused" else ""))
    console.print(table)


def _now() -> str:
    """The time of the import: validation rejects interactions with later timestamps."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _groups(raw: Path) -> str:
    import polars as pl

    from augrec.data.canonical import read_groups

    found = read_groups(raw)
    if found is None:
        return ""
    n = found.groups.select(pl.col("group_id").n_unique()).item()
    return f", {n:,} groups with {len(found.group_interactions):,} choices"


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
        f"{counts['users']:,} users{attributes}{_groups(raw)}",
        highlight=False,
    )
