"""`augrec models`, `recommend`, `promote`, `challenge`, `rollback`, `reproduce`: use and change the
model registry."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from augrec.cli.terminal import console, redirect_output, short_path
from augrec.core import settings as settings_
from augrec.core.errors import InputError, UnreachableError
from augrec.core.settings import QUICK_LIMITS

if TYPE_CHECKING:
    import polars as pl

    from augrec.registry.models import Version

_REASONS = 2


def models() -> None:
    """List the registered model versions, newest first, with the champion."""
    from augrec.registry import models as registry

    versions = registry.versions()
    if not versions:
        console.print("No model is registered yet: `augrec run` trains and registers one.")
        return
    table = Table(title="Registered models", title_justify="left", box=None, pad_edge=False)
    for name in ("version", "alias", "recommender", "policy"):
        table.add_column(name, no_wrap=True)
    table.add_column("NDCG@10", justify="right", no_wrap=True)
    table.add_column("valid", justify="right", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    table.add_column("run", overflow="ellipsis")  # the column to cut in a narrow terminal
    for one in versions:
        table.add_row(
            str(one.version),
            ", ".join(one.aliases),
            one.recommender,
            one.policy,
            _shown(one.headlines, "ndcg@10"),
            _shown(one.headlines, "ndcg@10 validation"),
            one.commit[:8],
            one.run_id,
        )
    console.print(table)
    for line in _reasons(versions[0]):
        console.print(f"\n{line}", highlight=False, markup=False)


def _reasons(newest: Version) -> Iterator[str]:
    """Why the champion is the champion, and why the newest version is not."""
    from augrec.registry import promotion, tracking

    champion, lost = promotion.standing()
    if lost is not None and champion is not None:
        yield (
            f"The champion, version {lost}, was deleted in MLflow. New versions are compared with "
            f"version {champion.version}; `augrec rollback` makes that one the champion."
        )
    elif champion is not None:
        yield f"Champion, version {champion.version}: {promotion.reason_of(champion.version)}"
    outcome = newest.tags.get(tracking.OUTCOME)
    if outcome and (champion is None or newest.version != champion.version):
        yield f"Not the champion, version {newest.version}: {outcome}"


def recommend(
    user: Annotated[str, typer.Option("--user", "-u", help="A user id.")],
    k: Annotated[int, typer.Option("-k", help="Number of items.", min=1)] = 10,
) -> None:
    """Recommendations of the champion for a user, based on all their interactions in data/raw, each
    with the items of the history that speak most for it.

    For a user without interactions: the recommendations for new users.

      $ augrec recommend --user 42
      $ augrec recommend -u new-user -k 5
    """
    import polars as pl

    from augrec.data.columns import Columns as C
    from augrec.registry import models as registry

    raw = settings_.load().home / "data" / "raw"
    if not (raw / "interactions.parquet").exists():
        raise InputError(
            "there is no data yet",
            where=str(raw),
            fix="run `augrec data get`, `augrec data import` or `augrec data simulate`",
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
        console.print(
            f"{user} has no interactions in data/raw: these are the recommendations for new users.",
            style="dim",
            markup=False,
            highlight=False,
        )
    champion = registry.load()
    histories = pl.Series([history], dtype=pl.List(pl.String))
    items, _ = champion.recommend(histories, k)
    reasons = champion.explain(histories, items, top=_REASONS)
    causes = reasons["because"].drop_nulls().to_list()
    named = pl.scan_parquet(raw / "items.parquet").filter(
        pl.col(C.ITEM).is_in([*items[0].tolist(), *causes])
    )
    titles = dict(named.select(C.ITEM, C.TITLE).drop_nulls().collect().iter_rows())
    counted = f"{len(history)} interaction{'' if len(history) == 1 else 's'}"
    rows = [
        (item, titles.get(item, ""), _because(reasons.filter(pl.col(C.ITEM) == item), titles))
        for item in items[0]
        if item
    ]
    console.print(_recommended(f"For {user}, with {counted}", rows))


def _because(reasons: pl.DataFrame, titles: Mapping[str, str]) -> str:
    """The strongest reasons for an item, in words."""
    strongest = reasons.sort("contribution", descending=True).head(_REASONS)
    return ", ".join(
        "popularity" if kind == "popularity" else titles.get(cause, cause)
        for kind, cause in strongest.select("kind", "because").iter_rows()
    )


def _recommended(title: str, rows: Sequence[tuple[str, str, str]]) -> Table:
    """Item, title and reasons of each, best first; without titles the ids alone."""
    titled = any(name for _, name, _ in rows)
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("item", no_wrap=True)
    if titled:
        table.add_column("title", no_wrap=True, overflow="ellipsis")
    table.add_column("because of")
    for rank, (item, name, why) in enumerate(rows, start=1):
        cells = [item, name, why] if titled else [item, why]
        table.add_row(str(rank), *map(Text, cells))
    return table


def promote(
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    reason: Annotated[str, typer.Option(help="Recorded in the promotion log.")] = "by hand",
) -> None:
    """Make a version the champion; the current champion becomes `previous_champion`.

    `augrec models` lists the versions. Before the promotion the model is loaded and tested.

      $ augrec promote 3 --reason "better for new users"
    """
    from augrec.registry import promotion

    now, _ = promotion.standing()
    moved = promotion.promote(
        version, reason=reason, by=getpass.getuser(), expected_champion=now.version if now else None
    )
    if moved is None:
        console.print(f"Version {version} is already the champion.")
    else:
        console.print(
            f"Champion: version {moved.version}"
            + (f", previously {moved.replaced}." if moved.replaced else ".")
        )


def challenge(
    version: Annotated[
        int | None, typer.Argument(help="The version to test; without one, the test ends.")
    ] = None,
) -> None:
    """Make a version the challenger, which the service tests next to the champion within seconds.

    serving.rollout in params.yaml sets whether its answers are only logged (shadow mode) or shown
    to a share of the users; `augrec report ab` compares the two. The champion does not change.

      $ augrec challenge 7
      $ augrec challenge          # ends the test
    """
    from augrec.registry import promotion

    before = promotion.challenge(version)
    if version is not None:
        console.print(
            f"Challenger: version {version}" + (f", previously {before}." if before else ".")
        )
    else:
        console.print(
            f"Version {before} is no longer the challenger."
            if before
            else "There was no challenger."
        )


def rollback(
    reason: Annotated[str, typer.Option(help="Recorded in the promotion log.")] = "by hand",
) -> None:
    """Make the previous champion the champion again.

    If MLflow does not answer, the service returns to its own copy of that version within seconds,
    and the registry follows when it answers again.
    """
    for name, value in QUICK_LIMITS.items():
        os.environ.setdefault(name, value)
    from augrec.registry import promotion

    try:
        done = promotion.rollback(reason=reason, by=getpass.getuser())
    except UnreachableError:
        from augrec.serving import local_rollback

        asked = local_rollback.ask(settings_.load().var / "serving", reason=reason)
        console.print(
            f"MLflow does not answer. The service returns to its copy of version "
            f"{asked.target['version']}, from version {asked.replaced}; the registry follows when "
            "it answers again."
        )
    else:
        console.print(
            f"Champion: version {done.version}, rolled back from version {done.replaced}."
        )


def reproduce(version: Annotated[int, typer.Argument(help="A registered version.")]) -> None:
    """Rebuild a version from its commit, and check that it is identical.

    Every stage runs again, so this takes about as long as the original run. The platform need not
    be running. The exit code is 1 if anything differs.
    """
    from augrec.orchestration.reproduce_version import reproduce_version

    here = settings_.load()
    log = here.var / "logs" / "reproduce.log"
    console.print(
        f"Output of the stages: {short_path(log)}",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    spinner = Spinner("dots", "checking out the commit")
    with (
        redirect_output(log) as out,
        Live(spinner, console=out, transient=True, redirect_stdout=False, redirect_stderr=False),
    ):

        def show_stage(stage: str, number: int, total: int) -> None:
            spinner.update(text=f"{number}/{total} {stage}")
            if not out.is_terminal:
                out.print(f"{number}/{total} {stage}", highlight=False)

        outcome = reproduce_version(here, version, show_stage)
    style = "green" if outcome.identical else "red"
    console.print(outcome.sentence, style=style)
    for line in outcome.differences:
        console.print(f"  {line}", highlight=False)
    raise typer.Exit(0 if outcome.identical else 1)


def _shown(headlines: Mapping[str, float], name: str) -> str:
    value = headlines.get(name)
    return "–" if value is None else f"{value:.3f}"
