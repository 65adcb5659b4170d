"""`augrec models`, `recommend`, `promote`, `rollback`, `reproduce`: what is in the registry and
what it can do."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from augrec.cli.terminal import console, redirect_output, short_path
from augrec.core import settings as settings_
from augrec.core.errors import InputError


def models() -> None:
    """List the registered versions, newest first, and which of them is the champion."""
    from augrec.registry import models as registry

    versions = registry.versions()
    if not versions:
        console.print("Nothing is registered yet: `augrec run` does that.")
        return
    table = Table(title="Registered models", title_justify="left", box=None, pad_edge=False)
    for name in ("version", "alias", "recommender", "policy"):
        table.add_column(name, no_wrap=True)
    table.add_column("NDCG@10", justify="right", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    table.add_column("run", overflow="ellipsis")  # the one that gives way in a narrow terminal
    for one in versions:
        table.add_row(
            str(one.version),
            ", ".join(one.aliases),
            one.recommender,
            one.policy,
            _ndcg(one.metrics),
            one.commit[:8],
            one.run_id,
        )
    console.print(table)


def recommend(
    user: Annotated[str, typer.Option("--user", "-u", help="A user id of the data.")],
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1)] = 10,
) -> None:
    """Ask the champion what to recommend to a user, given all they did.

    A user who is not in the data gets what a newcomer would see.

      $ augrec recommend --user 42
      $ augrec recommend -u somebody-new -k 5
    """
    import polars as pl

    from augrec.data.columns import Columns as C
    from augrec.registry import models as registry

    raw = settings_.load().home / "data" / "raw"
    if not (raw / "interactions.parquet").exists():
        raise InputError(
            "there is no data yet",
            where=str(raw),
            fix="bring some in with `augrec data get`, `augrec data import` or `augrec data "
            "simulate`",
        )
    if registry.champion() is None:
        raise InputError(
            "there is no champion yet",
            where="the model registry",
            fix="`augrec run` trains and registers one; `augrec models` lists versions that "
            "`augrec promote` can take",
        )
    own = pl.scan_parquet(raw / "interactions.parquet").filter(pl.col(C.USER) == user)
    history = own.sort(C.TIMESTAMP).collect()[C.ITEM].to_list()
    if not history:
        told = f"{user} is not in the data: this is what a newcomer sees."
        console.print(told, style="dim", markup=False, highlight=False)
    items, scores = registry.load().recommend(pl.Series([history], dtype=pl.List(pl.String)), k)
    found = [item for item in items[0] if item]
    named = pl.scan_parquet(raw / "items.parquet").filter(pl.col(C.ITEM).is_in(found))
    titles = dict(named.select(C.ITEM, C.TITLE).collect().iter_rows())
    known = f"{len(history)} interaction{'' if len(history) == 1 else 's'}"
    rows = [
        (item, titles.get(item) or "", score) for item, score in zip(found, scores[0], strict=False)
    ]
    console.print(_recommended(f"For {user}, with {known}", rows))


def _recommended(title: str, rows: Sequence[tuple[str, str, float]]) -> Table:
    """Item, title and score of each, best first."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("item", no_wrap=True)
    table.add_column("title", no_wrap=True, overflow="ellipsis")
    table.add_column("score", justify="right", no_wrap=True)
    for rank, (item, name, score) in enumerate(rows, start=1):
        table.add_row(str(rank), Text(item), Text(name), f"{score:.3f}")
    return table


def promote(
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the promotion log.")] = "by hand",
) -> None:
    """Make a version the champion by hand; the one before stays as `previous_champion`.

    `augrec models` lists the versions. The new champion is loaded and asked before it takes over.

      $ augrec promote 3 --reason "better for newcomers"
    """
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


def challenge(
    version: Annotated[
        int | None, typer.Argument(help="The version to try out; none: stop trying.")
    ] = None,
) -> None:
    """Try a version out beside the champion: the service follows within seconds, promotion is
    another matter.

    What it is used for, unseen answers or a share of the users, is set under
    serving.rollout in params.yaml; `augrec report ab` compares the two.

      $ augrec challenge 7
      $ augrec challenge          # no longer
    """
    from augrec.registry import promotion

    before = promotion.challenge(version)
    if version is not None:
        console.print(
            f"Challenger: version {version}" + (f", before it {before}." if before else ".")
        )
    else:
        console.print(
            f"Version {before} is no longer tried out."
            if before
            else "No version was being tried out."
        )


def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept in the promotion log.")] = "by hand",
) -> None:
    """Make the previous champion the champion again. The promotion log keeps both moves."""
    from augrec.registry import promotion

    done = promotion.rollback(reason=reason, by=getpass.getuser())
    console.print(f"Champion: version {done.version}, rolled back from version {done.replaced}.")


def reproduce(version: Annotated[int, typer.Argument(help="A registered version.")]) -> None:
    """Rebuild a version from its commit, every stage run again, and say whether it is identical.

    Nothing is restored from the cache: it takes about as long as the run that
    made the version. The platform need not run. Ends with exit code 1 where
    anything differs.
    """
    from augrec.orchestration.reproduce_version import reproduce_version

    here = settings_.load()
    log = here.var / "logs" / "reproduce.log"
    console.print(
        f"What the stages say goes to {short_path(log)}",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    spinner = Spinner("dots", "checking out the commit")
    with (
        redirect_output(log) as out,
        Live(spinner, console=out, transient=True, redirect_stdout=False, redirect_stderr=False),
    ):

        def told(stage: str, number: int, total: int) -> None:
            spinner.update(text=f"{number}/{total} {stage}")
            if not out.is_terminal:
                out.print(f"{number}/{total} {stage}", highlight=False)

        outcome = reproduce_version(here, version, told)
    style = "green" if outcome.identical else "red"
    console.print(outcome.sentence, style=style)
    for line in outcome.differences:
        console.print(f"  {line}", highlight=False)
    raise typer.Exit(0 if outcome.identical else 1)


def _ndcg(metrics: dict[str, Any]) -> str:
    value = metrics.get("test", {}).get("overall", {}).get("ndcg@10")
    return "–" if value is None else f"{value:.4f}"
