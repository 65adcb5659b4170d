"""group_gan and its ablations beside other recommenders, on the time split of params.yaml.

    python -m benchmarks.groups_taste    # downloads MovieLens 100k by pip (see its terms)
    python -m benchmarks.groups_taste --movietweetings FOLDER    # MovieTweetings in its place

Each training is chosen by validation users; the tables are of test users, of the mean over seeds.
One training after the other is kept, first all models with one seed, so that an interrupted run
continues, and --show makes the table of the seeds that all models have.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.core.files import read_json, write_json, write_parquet
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.histories import Histories
from augrec.data.slices import SLICES
from augrec.data.sources import read
from augrec.data.split import Split, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import Difference, paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import OVERALL
from augrec.recommenders.base import Recommender, find
from augrec.recommenders.group_gan import GroupGan
from benchmarks import cache, project, tables
from benchmarks.environments import WHERE

METRIC, K, CONFIDENCE, SAMPLES = "ndcg@10", 10, 0.95, 2000
GROUP = "taste_group"
BASE = "ease"
ABLATIONS: dict[str, dict[str, Any]] = {
    "group_gan": {},
    "without profiles (VAE)": {"vae": False},
    "without GAN": {"gan": False},
    "without live update": {"live": False},
    "without content": {"content": False},
    "random groups": {"grouping": "random"},
    "without groups": {"grouping": "none"},
}


@dataclass(frozen=True)
class Data:
    """What is trained on, and the cases of test users."""

    training: TrainingData
    test: pl.DataFrame


Measure = Callable[[Data, int], pl.DataFrame]
"""Data and seed → the metrics of each case of test users."""


def plain(name: str, options: dict[str, Any]) -> Measure:
    """A recommender as it is."""

    def measured(data: Data, seed: int) -> pl.DataFrame:
        return evaluate(find(name)(options, seed=seed).fit(data.training), data.test, [K])

    return measured


def popular_by_group(data: Data, seed: int) -> pl.DataFrame:
    """Popularity in groups of the features alone; a case's group is that of its history."""
    features = GroupGan({"vae": False, "gan": False, "live": False}, seed=seed).fit(data.training)

    def with_groups(cases: pl.DataFrame) -> pl.DataFrame:
        known = Histories.from_lists(cases["history"], features.items)
        labels = pl.Series(GROUP, features.memberships(known)[0]).cast(pl.String)
        nothing = pl.Series(known.lengths == 0)
        return cases.with_columns(pl.when(nothing).then(None).otherwise(labels).alias(GROUP))

    histories = data.training.histories
    users = pl.DataFrame(
        {
            C.USER: histories.users.tolist(),
            GROUP: features.memberships(histories)[0].astype(str).tolist(),
        }
    )
    training = TrainingData(data.training.interactions, users=users)
    model: Recommender = find("popularity")({"group_by": GROUP}, seed=seed).fit(training)
    return evaluate(model, with_groups(data.test), [K])


def models(steps: int | None) -> dict[str, tuple[Measure, bool]]:
    """By label: how it is measured, and whether another seed gives another model."""
    found: dict[str, tuple[Measure, bool]] = {}
    for name in ("popularity", "ease"):
        found[name] = plain(name, project.overrides("recommenders", name)), False
    found["popularity by taste group"] = popular_by_group, True
    for name in ("multvae", "gru4rec"):
        found[name] = plain(name, project.overrides("recommenders", name)), True
    short = {"steps": steps, "eval_every": max(1, steps // 8)} if steps else {}
    for label, keys in ABLATIONS.items():
        found[label] = plain("group_gan", short | keys), True
    return found


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    title = "MovieLens 100k" if given.movietweetings is None else "MovieTweetings"
    parts, data = _read(given)
    name = f"groups-taste-{title.lower().replace(' ', '-')}"
    cells = cache.folder(name, __file__, users=given.users, steps=given.steps)
    kinds = models(given.steps)
    for seed in range(given.seeds):
        for label, (measure, draws) in kinds.items():
            path = cells / f"{label}-{seed}.parquet".replace(" ", "-")
            if given.show or path.exists() or (seed and not draws):
                continue
            start = time.process_time()
            found = measure(data, seed)
            seconds = time.process_time() - start
            write_json(path.with_suffix(".json"), {"label": label, "seconds": seconds})
            write_parquet(path, found)
            mean = float(found[METRIC].to_numpy().mean())
            print(f"{label}, seed {seed}: {mean:.4f}, {seconds:.0f} s", flush=True)
    measured, seconds_of, n_seeds = _kept(cells, kinds, given.seeds)
    # without a history all are ranked by popularity
    slices = [OVERALL, *(one for one in SLICES[1:] if one in set(parts.cases_test["slice"]))]
    table = [
        [label, *(_cell(one, measured[BASE], part) for part in slices), f"{seconds_of[label]:.0f}"]
        for label, one in measured.items()
    ]
    whole = measured["group_gan"]
    against = [
        [label, *(_gain(whole, one, part) for part in slices)]
        for label, one in measured.items()
        if label != "group_gan"
    ]
    lines = [
        f"{len(parts.train):,} training interactions, {parts.train[C.USER].n_unique():,} users, "
        f"{len(data.training.catalogue):,} items, {len(parts.cases_test):,} test cases; {n_seeds} "
        "seeds, means of each case over them. NDCG@10 on test users by the length of the history "
        "(without one, all models give popular items), "
        f"and the difference from {BASE} with its 95 % interval, paired by user (bold: on one side "
        "of 0); CPU seconds of one training with its evaluation:",
        tables.markdown(["", "all", *slices[1:], "seconds"], table),
        "What group_gan has more than each:",
        tables.markdown(["", "all", *slices[1:]], against),
    ]
    heading = f"Taste groups: group_gan and its ablations on {title}"
    tables.write(
        name, heading, lines, tables.command_line("benchmarks.groups_taste"), tables.own_versions()
    )


def _read(given: argparse.Namespace) -> tuple[Split, Data]:
    if given.movietweetings is not None:
        found = read("movietweetings", given.movietweetings)
    else:
        print(TERMS)
        found = movielens_100k(WHERE / "movielens-100k")
    prepare = project.config(PrepareConfig, "prepare")
    rows = clean(found.interactions, prepare.positive)
    if given.users is not None:
        kept = rows[C.USER].unique().sort().sample(given.users, seed=0, shuffle=True)
        rows = rows.filter(pl.col(C.USER).is_in(kept.implode()))
    parts = split(rows, prepare.split, 0)
    training = TrainingData(
        parts.train, cases=parts.cases_valid, items=found.items, users=found.users
    )
    return parts, Data(training, parts.cases_test)


def _kept(
    cells: Path, kinds: dict[str, tuple[Measure, bool]], most: int
) -> tuple[dict[str, pl.DataFrame], dict[str, float], int]:
    """The mean of each case over the seeds that all models have, CPU seconds, and their number."""

    def there(label: str, seed: int) -> Path:
        return cells / f"{label}-{seed}.parquet".replace(" ", "-")

    whole = [
        seed
        for seed in range(most)
        if all(there(label, seed if draws else 0).exists() for label, (_, draws) in kinds.items())
    ]
    if not whole:
        raise SystemExit("no seed is complete yet")
    measured, seconds = {}, {}
    for label, (_, draws) in kinds.items():
        paths = [there(label, seed) for seed in (whole if draws else [0])]
        found = [pl.read_parquet(path) for path in paths]
        values = np.mean([one[METRIC].to_numpy() for one in found], axis=0)
        measured[label] = found[0].with_columns(pl.Series(METRIC, values))
        told = [read_json(path.with_suffix(".json"))["seconds"] for path in paths]
        seconds[label] = float(np.mean(told))
    return measured, seconds, len(whole)


def _cell(ours: pl.DataFrame, base: pl.DataFrame, name: str) -> str:
    return f"{_difference(ours, base, name).candidate_mean:.4f} ({_gain(ours, base, name)})"


def _gain(ours: pl.DataFrame, base: pl.DataFrame, name: str) -> str:
    found = _difference(ours, base, name)
    return tables.gain(found.difference, found.ci_low, found.ci_high)


def _difference(ours: pl.DataFrame, base: pl.DataFrame, name: str) -> Difference:
    return paired_difference(
        ours, base, METRIC, slice_name=name, confidence=CONFIDENCE, samples=SAMPLES, seed=0
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movietweetings", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of group_gan; default: auto")
    parser.add_argument("--users", type=int, help="a random sample of them; default: all")
    parser.add_argument("--show", action="store_true", help="train nothing, show what is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
