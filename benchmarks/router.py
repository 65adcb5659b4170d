"""The router against each single model, by slices of activity, on the time split of params.yaml.

    python -m benchmarks.router    # downloads MovieLens 100k by pip (see its terms)
    python -m benchmarks.router --movietweetings FOLDER    # also MovieTweetings from a folder

A second table gives new items a share of every list, where all targets are new items (protocol
cold_items, a tenth of the items), and on the time split, where few are.

The router holds the project's members and those of --also; the single models are those very
members, so that all train on the same rows. Everything is chosen on validation users; the tables
are of test users.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch

from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.slices import SLICES
from augrec.data.sources import read
from augrec.data.split import split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import Difference, paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import OVERALL
from augrec.recommenders.base import find
from augrec.recommenders.router import RouterConfig
from benchmarks import project, tables
from benchmarks.environments import WHERE

MOVIELENS = "MovieLens 100k"
NEW_SHARES = ([0.0], [0.05], [0.1], [0.2], [0.0, 0.05, 0.1, 0.2, 0.5])
SLOW = ("ials", "multvae", "sasrec")
METRIC, K = "ndcg@10", 10
CONFIDENCE, SAMPLES = 0.95, 2000


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    also = [{name: project.overrides("recommenders", name)} for name in given.also]
    config = project.overrides("recommenders", "router") | {"members": _members() + also}
    parts = []
    for title, found in _datasets(given):
        parts += [f"## {title}", *_compare(found, config, given.seed)]
        if title == MOVIELENS:
            parts += [
                f"## {title}: new items without interactions",
                *_new_items(found, given.seed),
            ]
    heading = "The router against each of its members, by the number of items in a user's history"
    tables.write(
        "router", heading, parts, tables.command_line("benchmarks.router"), tables.own_versions()
    )


def _datasets(given: argparse.Namespace) -> Iterator[tuple[str, Tables]]:
    if given.movielens_100k is None:
        print(TERMS)
    yield MOVIELENS, movielens_100k(given.movielens_100k or WHERE / "movielens-100k")
    if given.movietweetings is not None:
        yield "MovieTweetings", read("movietweetings", given.movietweetings)


def _compare(found: Tables, config: dict[str, Any], seed: int) -> list[str]:
    """Fit the router, measure it and its members, and say it in tables."""
    prepare = project.config(PrepareConfig, "prepare")
    parts = split(clean(found.interactions, prepare.positive), prepare.split, seed)
    valid, test = (_known(cases, found.users) for cases in (parts.cases_valid, parts.cases_test))
    users = found.users.join(parts.train.select(C.USER).unique(), on=C.USER, how="semi")
    router: Any = find("router")(config, seed=seed)
    router.fit(TrainingData(parts.train, cases=valid, items=found.items, users=users))
    measured = {member.label: evaluate(member.model, test, [K]) for member in router._members}
    ours = evaluate(router, test, [K])
    slices = [OVERALL, *(name for name in SLICES if name in set(test["slice"]))]
    counts = [str(_difference(ours, ours, name, seed).n_users) for name in slices]
    rows = [["users", *counts], ["**router**", *(_mean(ours, name, seed) for name in slices)]]
    rows += [
        [label, *(_mean(table, name, seed) for name in slices)] for label, table in measured.items()
    ]
    lead = [
        [label, *(_interval(_difference(ours, table, name, seed)) for name in slices)]
        for label, table in measured.items()
    ]
    return [
        f"{len(parts.train):,} training interactions, {parts.train[C.USER].n_unique():,} users, "
        f"{len(router.items):,} "
        "items. NDCG@10 on test users:",
        tables.markdown(["", "all", *slices[1:]], rows),
        "The router's lead, with the 95 % interval of the difference paired by user (bold: it lies "
        "on one side of 0):",
        tables.markdown(["over", "all", *slices[1:]], lead),
        _chosen(router, config["members"]),
    ]


def _new_items(found: Tables, seed: int) -> list[str]:
    """NDCG@10 of the router of cheap members, by the share of a list for new items."""
    prepare = project.config(PrepareConfig, "prepare")
    rows = clean(found.interactions, prepare.positive)
    cold = prepare.split.model_copy(update={"protocol": "cold_items", "cold_share": 0.1})
    splits = [split(rows, cold, seed), split(rows, prepare.split, seed)]
    lines = []
    for shares in NEW_SHARES:
        config = project.overrides("recommenders", "router") | {
            "members": _with_new_items(),
            "new_item_shares": shares,
        }
        cells = []
        for parts in splits:
            router: Any = find("router")(config, seed=seed)
            valid, test = (
                _known(cases, found.users) for cases in (parts.cases_valid, parts.cases_test)
            )
            router.fit(TrainingData(parts.train, cases=valid, items=found.items, users=found.users))
            cells.append(_mean(evaluate(router, test, [K]), OVERALL, seed))
        chosen = "chosen by validation users" if len(shares) > 1 else f"{shares[0]:g}"
        lines.append([chosen, *cells])
    return [tables.markdown(["share of new items", "all targets new", "time split"], lines)]


def _members() -> list[dict[str, dict[str, Any]]]:
    return project.config(RouterConfig, "recommenders", "router").members


def _with_new_items() -> list[dict[str, dict[str, Any]]]:
    """The project's members that are quick to train; content ranks all new items."""
    all_new = {"max_new_items": 1_000_000}
    return [
        {name: config | all_new if name == "content" else config}
        for member in _members()
        for name, config in member.items()
        if name not in SLOW
    ]


def _known(cases: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """The cases with their users' attributes."""
    attributes = users.unique(C.USER, keep="first")
    return (
        cases.join(attributes, on=C.USER, how="left", maintain_order="left")
        if users.width > 1
        else cases
    )


def _difference(ours: pl.DataFrame, theirs: pl.DataFrame, name: str, seed: int) -> Difference:
    return paired_difference(
        ours, theirs, METRIC, slice_name=name, confidence=CONFIDENCE, samples=SAMPLES, seed=seed
    )


def _mean(table: pl.DataFrame, name: str, seed: int) -> str:
    return f"{_difference(table, table, name, seed).candidate_mean:.4f}"


def _interval(found: Difference) -> str:
    return tables.gain(found.difference, found.ci_low, found.ci_high)


def _chosen(router: Any, members: list[dict[str, dict[str, Any]]]) -> str:
    """Who serves whom, chosen on validation users."""
    chosen = []
    for name, part in router.choices()["slices"].items():
        weights = [f"{weight:.2f} {label}" for label, weight in part["weights"].items()]
        chosen.append(f"{name}: {' + '.join(weights)}")
    twice = [f"{name} {config}" for member in members for name, config in member.items() if config][
        :1
    ]
    return (
        f"Chosen on validation users: {'; '.join(chosen)}. (popularity_2 is "
        f"{twice[0] if twice else 'absent'}.)"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movielens-100k", type=Path, help="a folder that holds it already")
    parser.add_argument(
        "--movietweetings", type=Path, help="the folder of ratings.dat and movies.dat"
    )
    parser.add_argument(
        "--also", nargs="*", default=[], help="further members, with their project config"
    )
    parser.add_argument("--seed", type=int, default=20260)
    return parser.parse_args()


if __name__ == "__main__":
    main()
