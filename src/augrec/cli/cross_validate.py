"""`augrec cross-validate`: compare recommenders, with every user as a test user once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from augrec.cli.terminal import console, short_path
from augrec.core import settings as settings_

if TYPE_CHECKING:
    import polars as pl

    from augrec.core.settings import Settings
    from augrec.evaluation.config import GateConfig


def cross_validate(
    recommenders: Annotated[
        list[str] | None,
        typer.Argument(help="Names of recommenders; default: run.recommenders in params.yaml."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Number of folds; default: prepare.split.folds in params.yaml.",
            min=3,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare recommenders by k-fold cross-validation over users: each user is a test user once.

    A run evaluates on one split. This evaluates on one split for each fold, which gives more
    precise results on small data. It reads data/raw, trains on real interactions only, and
    registers nothing. The platform need not be running.

      $ augrec cross-validate
      $ augrec cross-validate ease ials multvae --folds 10
    """
    from augrec.core.config import parse, read_params
    from augrec.evaluation.config import GateConfig
    from augrec.stages.auto import choose
    from augrec.stages.planning import overridden

    here = settings_.load()
    params = read_params(here.home)
    gate = parse(GateConfig, params["gate"], "gate")
    chosen = overridden(params, choose(params, here.home / "data/raw").values)
    names = list(dict.fromkeys(recommenders or chosen["run"]["recommenders"]))
    measured, summaries = _measure(here, params, names, folds)
    console.print(_table(measured, summaries, gate, params["seed"]))
    percent = f"{gate.confidence:.0%}"
    console.print(
        f"In brackets: {percent} confidence intervals over users; differences are paired with the "
        "first recommender. Folds share training users, so the deviation between folds is not the "
        "standard error of the mean.\nMetrics of each user: "
        f"{short_path(here.home / 'reports' / 'cross_validation')}",
        style="dim",
        highlight=False,
    )


def _measure(
    here: Settings, params: Mapping[str, Any], names: list[str], folds: int | None
) -> tuple[dict[str, pl.DataFrame], dict[str, dict[str, Any]]]:
    """Per-user metrics and their summary for each recommender; both are also written to
    reports/."""
    from augrec.core.config import parse, section
    from augrec.core.files import whole_directory, write_json, write_parquet
    from augrec.core.seeds import derive
    from augrec.data.clean import clean
    from augrec.data.config import PrepareConfig
    from augrec.data.ranking import RankingMetric
    from augrec.evaluation.config import EvaluationConfig
    from augrec.evaluation.cross_validation import cross_validate as over_folds
    from augrec.evaluation.cross_validation import summarise_folds
    from augrec.recommenders.base import find
    from augrec.validation.config import read_config
    from augrec.validation.snapshot import check_snapshot, read_snapshot

    prepare = parse(PrepareConfig, params["prepare"], "prepare")
    split = prepare.split if folds is None else prepare.split.model_copy(update={"folds": folds})
    cutoffs = parse(EvaluationConfig, params["evaluation"], "evaluation").cutoffs
    checked = check_snapshot(read_snapshot(here.home / "data" / "raw"), *read_config(params))
    kept, refused = checked.kept, checked.counts()["interactions"]["quarantined"]
    if refused:
        console.print(
            f"{refused:,} interactions fail validation and are left out; the quarantine of a run "
            "gives the reasons.",
            style="dim",
            highlight=False,
        )
    rows = clean(
        kept["interactions"], prepare.positive, min_item_interactions=prepare.min_item_interactions
    )
    make = {
        name: partial(
            find(name),
            section(params, f"recommenders.{name}"),
            seed=derive(params["seed"], "train", name),
        )
        for name in names
    }
    measured, summaries = {}, {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {name: progress.add_task(name, total=split.folds, start=False) for name in names}
        for name in names:
            progress.start_task(bars[name])
            measured[name] = over_folds(
                make[name],
                rows,
                split,
                seed=params["seed"],
                cutoffs=cutoffs,
                items=kept["items"],
                users=kept["users"],
                metric=RankingMetric(params["tuning"]["metric"]),
                on_fold=partial(progress.advance, bars[name]),
            )
            summaries[name] = summarise_folds(measured[name])
            with whole_directory(here.home / "reports" / "cross_validation" / name) as draft:
                write_parquet(draft / "per_user.parquet", measured[name])
                write_json(draft / "metrics.json", summaries[name])
    return measured, summaries


def _table(
    measured: Mapping[str, pl.DataFrame],
    summaries: Mapping[str, Mapping[str, Any]],
    gate: GateConfig,
    seed: int,
) -> Table:
    """The recommenders, best first, each with its paired difference from the best."""
    from augrec.evaluation.bootstrap import interval, paired_difference
    from augrec.evaluation.user_means import user_values

    how: Any = {"confidence": gate.confidence, "samples": gate.bootstrap_samples, "seed": seed}
    values = {
        name: user_values(rows, gate.metric)["value"].to_numpy() for name, rows in measured.items()
    }
    names = sorted(values, key=lambda name: -values[name].mean())
    title = f"{len(values[names[0]]):,} users in {len(summaries[names[0]]['folds'])} folds"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", gate.metric, "between folds", f"against {names[0]}"):
        table.add_column(column, no_wrap=True, justify="right" if column else "left")
    for name in names:
        low, high = interval(values[name], **how)
        gain = paired_difference(measured[name], measured[names[0]], gate.metric, **how)
        deviation = summaries[name]["deviation"][gate.metric]
        table.add_row(
            name,
            f"{values[name].mean():.4f} [{low:.4f}, {high:.4f}]",
            f"± {deviation:.4f}",
            ""
            if name == names[0]
            else f"{gain.difference:+.4f} [{gain.ci_low:+.4f}, {gain.ci_high:+.4f}]",
        )
    return table
