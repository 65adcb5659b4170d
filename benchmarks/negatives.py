"""BPR with each negative sampler: uniform, by popularity, in-batch and adversarial.

    python -m benchmarks.negatives random movielens_100k FOLDER        # CFGAN's protocol
    python -m benchmarks.negatives time movietweetings FOLDER

Weight decay and the sampler's options are chosen for each sampler on a fifth of the training rows.
Then each trains on all of them, with the same seeds and the same number of gradient steps. A user's
figure is the mean over seeds; intervals are paired bootstraps over users.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import interval
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.data import SPLITS, validation_part
from benchmarks.environments import WHERE

K = 20
METRIC = f"ndcg@{K}"
SIZE = {"factors": 64, "history_exponent": 0.7, "negatives": 16}
DECAY = (0.3, 1.0, 2.0)
MORE = "uniform, 64 negatives"
"""Scores as many items for each user as the adversary has candidates."""
OPTIONS: dict[str, dict[str, tuple[float, ...]]] = {
    "uniform": {},
    MORE: {},
    "popularity": {"negative_exponent": (0.25, 0.5, 0.75)},
    "in_batch": {},
    "adversarial": {"negative_exponent": (0.0, 0.5), "negative_hardness": (1.0, 2.0)},
}


@dataclass(frozen=True)
class Measured:
    """One sampler: what was chosen, a row for each case with the mean over seeds, CPU seconds of a
    training."""

    chosen: dict[str, Any]
    validated: float
    metrics: dict[str, np.ndarray]
    seconds: float


def main() -> None:
    given = _arguments()
    split = given.where / f"{given.split}-{given.folder.name}"
    SPLITS[given.split](given.layout, given.folder, split, given.seed)
    train, cases = (pl.read_parquet(split / f"{name}.parquet") for name in ("train", "cases"))
    found = {name: _measure(name, train, cases, given) for name in OPTIONS}
    tables.write(
        f"negatives-{given.split}-{given.folder.name}",
        f"Negatives for BPR: {given.folder.name}, {given.split} split",
        [_facts(train, cases, given), _table(found)],
        tables.command_line("benchmarks.negatives"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", choices=sorted(SPLITS))
    parser.add_argument(
        "layout", help="of the raw data, e.g. movielens_100k, recbole, movietweetings"
    )
    parser.add_argument("folder", type=Path, help="the folder of the raw data")
    parser.add_argument("--seeds", type=int, default=3, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=300, help="gradient steps")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the split")
    return parser.parse_args()


def _measure(
    name: str, train: pl.DataFrame, cases: pl.DataFrame, given: argparse.Namespace
) -> Measured:
    part, wanted = validation_part(train, given.seed)
    tried = {}
    for decay, *values in product(DECAY, *OPTIONS[name].values()):
        options = {"weight_decay": decay, **dict(zip(OPTIONS[name], values, strict=True))}
        value = float(_fit(name, options, part, wanted, given, 0)[METRIC].to_numpy().mean())
        tried[value] = options
        print(name, options, f"{value:.4f}", flush=True)
    chosen, began = tried[max(tried)], time.process_time()
    runs = [_fit(name, chosen, train, cases, given, number) for number in range(given.seeds)]
    seconds = (time.process_time() - began) / given.seeds
    means = {
        metric: np.mean([run[metric].to_numpy() for run in runs], axis=0)
        for metric in (METRIC, f"recall@{K}")
    }
    return Measured(chosen, max(tried), means, seconds)


def _fit(
    name: str,
    options: dict[str, Any],
    train: pl.DataFrame,
    cases: pl.DataFrame,
    given: argparse.Namespace,
    number: int,
) -> pl.DataFrame:
    """The metrics of each case of one trained model."""
    sampler = (
        {"negative_sampler": "uniform", "negatives": 64}
        if name == MORE
        else {"negative_sampler": name}
    )
    config = SIZE | options | sampler | {"steps": given.steps, "eval_every": given.steps}
    recommender = find("bpr")(config, seed=derive(given.seed, "model", number)).fit(
        TrainingData(train)
    )
    return per_case(rank_cases(recommender, cases, K), cases, recommender, (K,))


def _table(found: dict[str, Measured]) -> str:
    rows, base = [], found["uniform"]
    for name, one in found.items():
        gains = [
            "" if one is base else _interval(one.metrics[metric] - base.metrics[metric])
            for metric in one.metrics
        ]
        means = [f"{values.mean():.4f}" for values in one.metrics.values()]
        options = ", ".join(
            f"{key.removeprefix('negative_')} {value:g}" for key, value in one.chosen.items()
        )
        cells = [
            means[0],
            gains[0],
            means[1],
            gains[1],
            f"{one.validated:.4f}",
            f"{one.seconds:.1f}",
        ]
        rows.append([name, *cells, options])
    names = (
        METRIC,
        "against uniform",
        f"recall@{K}",
        "against uniform",
        "validated",
        "CPU s",
        "chosen",
    )
    return tables.markdown(["negatives", *names], rows)


def _interval(values: np.ndarray) -> str:
    return tables.gain(
        values.mean(), *interval(values.astype(np.float64), confidence=0.95, samples=2000, seed=0)
    )


def _facts(train: pl.DataFrame, cases: pl.DataFrame, given: argparse.Namespace) -> str:
    return (
        f"{len(train):,} training rows of {train[C.USER].n_unique():,} users and "
        f"{train[C.ITEM].n_unique():,} items; {len(cases):,} users, ranked over the full "
        f"catalogue; {given.steps} gradient steps, {given.seeds} seeds, {SIZE['negatives']} "
        "negatives for each user of a step, the adversary's from 4 candidates each. In brackets: "
        f"95 % paired bootstrap over users of the gain over uniform. Validated: {METRIC} of the "
        "chosen options on a fifth of the training rows. CPU seconds: training and ranking."
    )


if __name__ == "__main__":
    main()
