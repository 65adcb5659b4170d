"""`augrec models`, `recommend`, `promote`, `rollback`, `reproduce`: what is in the registry and what it can do."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from augrec import settings as settings_
from augrec.errors import InputError

console = Console()


def models() -> None:
    """List the registered versions, the champion first in mind."""
    from augrec.registry import models as registry

    versions = registry.versions()
    if not versions:
        console.print("Nothing is registered yet: `augrec run` does that.")
        return
    table = Table(
        "version", "", "recommender", "policy", "NDCG@10 (test)", "run", "commit", title="Registered models"
    )
    for one in versions:
        table.add_row(
            str(one.version),
            ", ".join(one.aliases),
            one.recommender,
            one.policy,
            _ndcg(one.metrics),
            one.run_id,
            one.commit[:8],
        )
    console.print(table)


def recommend(
    user: Annotated[str, typer.Option("--user", "-u", help="A user id of the data.")],
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1)] = 10,
) -> None:
    """Ask the champion what to recommend to a user, given all they did."""
    import polars as pl

    from augrec.data.columns import Columns as C
    from augrec.registry import models as registry

    here = settings_.load()
    raw = here.home / "data" / "raw"
    champion = registry.load()
    if not (raw / "interactions.parquet").exists():
        raise InputError(
            "there is no data here", where=str(raw), fix="`augrec data get`, `import` or `simulate` first"
        )
    history = (
        pl.scan_parquet(raw / "interactions.parquet")
        .filter(pl.col(C.USER) == user)
        .sort(C.TIMESTAMP)
        .collect()[C.ITEM]
    )
    if history.is_empty():
        console.print(f"[dim]{user} is not in the data: this is what a newcomer sees.[/]", highlight=False)
    items, scores = champion.recommend(pl.Series([history.to_list()], dtype=pl.List(pl.String)), k)
    found = items[0][items[0] != ""]
    titles = dict(
        pl.read_parquet(raw / "items.parquet")
        .filter(pl.col(C.ITEM).is_in(found.tolist()))
        .select(C.ITEM, C.TITLE)
        .iter_rows()
    )
    table = Table("", "item", "title", "score", title=f"For {user}, who has {len(history)} interactions")
    for rank, (item, score) in enumerate(zip(found, scores[0], strict=False), start=1):
        table.add_row(str(rank), item, titles.get(item) or "", f"{score:.3f}")
    console.print(table)


def promote(
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the promotion log.")] = "by hand",
) -> None:
    """Make a version the champion by hand; the one before stays as `previous_champion`."""
    from augrec.registry import models as registry
    from augrec.registry import promotion

    now = registry.champion()
    moved = promotion.promote(
        version, reason=reason, by=getpass.getuser(), expected_champion=now.version if now else None
    )
    if moved is None:
        console.print(f"Version {version} is the champion already.")
    else:
        console.print(
            f"Champion: version {moved.version}"
            + (f", before it {moved.replaced}." if moved.replaced else ".")
        )


def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept in the promotion log.")] = "by hand",
) -> None:
    """Make the previous champion the champion again."""
    from augrec.registry import promotion

    done = promotion.rollback(reason=reason, by=getpass.getuser())
    console.print(f"Champion: version {done.version}, rolled back from version {done.replaced}.")


def reproduce(version: Annotated[int, typer.Argument(help="A registered version.")]) -> None:
    """Rebuild a version from its commit, every stage run again, and say whether it is identical."""
    from augrec.orchestration import reproducing

    with console.status("Checking out the commit …") as spinner:
        outcome = reproducing.reproduce(
            settings_.load(),
            version,
            lambda stage, number, total: spinner.update(f"{number}/{total} {stage}"),
        )
    style = "green" if outcome.identical else "red"
    console.print(outcome.sentence, style=style)
    for line in outcome.differences:
        console.print(f"  {line}", highlight=False)
    raise typer.Exit(0 if outcome.identical else 1)


def _ndcg(metrics: dict[str, Any]) -> str:
    value = metrics.get("test", {}).get("overall", {}).get("ndcg@10")
    return "–" if value is None else f"{value:.4f}"
