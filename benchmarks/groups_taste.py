"""group_gan and its ablations beside other recommenders, on the time split of params.yaml.

    python -m benchmarks.groups_taste    # downloads MovieLens 100k by pip (see its terms)
    python -m benchmarks.groups_taste --movietweetings FOLDER    # MovieTweetings in its place

Everything is chosen on validation users; the tables are of test users, of the mean over seeds.
With --growth, k-means over 10^4 and 10^5 users too.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.slices import SLICES
from augrec.data.sources import read
from augrec.data.split import split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import OVERALL
from augrec.recommenders._taste.clusters import k_means
from augrec.recommenders.base import find
from benchmarks import project, tables
from benchmarks.environments import WHERE

METRIC, K, CONFIDENCE, SAMPLES = "ndcg@10", 10, 0.95, 2000
OTHERS = ("popularity", "ease", "multvae", "gru4rec")
ABLATIONS: dict[str, dict[str, Any]] = {
    "group_gan": {},
    "without profiles (VAE)": {"vae": False},
    "without GAN": {"gan": False},
    "without live update": {"live": False},
    "without content": {"content": False},
    "random groups": {"grouping": "random"},
    "without groups": {"grouping": "none"},
}


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    if given.movietweetings is not None:
        title, found = "MovieTweetings", read("movietweetings", given.movietweetings)
    else:
        print(TERMS)
        title, found = "MovieLens 100k", movielens_100k(WHERE / "movielens-100k")
    prepare = project.config(PrepareConfig, "prepare")
    rows = clean(found.interactions, prepare.positive)
    if given.users is not None:
        kept = rows[C.USER].unique().sort().sample(given.users, seed=0, shuffle=True)
        rows = rows.filter(pl.col(C.USER).is_in(kept.implode()))
    parts = split(rows, prepare.split, 0)
    data = TrainingData(parts.train, cases=parts.cases_valid, items=found.items, users=found.users)
    kinds = [(name, name, project.overrides("recommenders", name)) for name in OTHERS]
    short = {"steps": given.steps, "eval_every": max(1, given.steps // 8)} if given.steps else {}
    kinds += [(label, "group_gan", short | keys) for label, keys in ABLATIONS.items()]
    measured, seconds = {}, {}
    for label, name, keys in kinds:
        start = time.process_time()
        seeds = range(given.seeds if find(name).draws else 1)
        one = [
            evaluate(find(name)(keys, seed=seed).fit(data), parts.cases_test, [K]) for seed in seeds
        ]
        measured[label] = _mean(one)
        seconds[label] = (time.process_time() - start) / len(seeds)
        print(label, measured[label][METRIC].mean(), seconds[label], flush=True)
    slices = [OVERALL, *(name for name in SLICES if name in set(parts.cases_test["slice"]))]
    table = [
        [label, *(_cell(one, measured["ease"], name) for name in slices), f"{seconds[label]:.0f}"]
        for label, one in measured.items()
    ]
    lines = [
        f"{len(parts.train):,} training interactions, {parts.train[C.USER].n_unique():,} users, "
        f"{len(data.catalogue):,} items; {given.seeds} seeds, means of each user over them. "
        "NDCG@10 on test users by the length of the history, and the difference from EASE with "
        "its 95 % interval, paired by user (bold: on one side of 0); CPU seconds of one training:",
        tables.markdown(["", "all", *slices[1:], "seconds"], table),
    ]
    if given.growth:
        lines += _growth()
    name = f"groups-taste-{title.lower().replace(' ', '-')}"
    heading = f"Taste groups: group_gan and its ablations on {title}"
    command = tables.command_line("benchmarks.groups_taste")
    tables.write(name, heading, lines, command, tables.own_versions())


def _mean(found: list[pl.DataFrame]) -> pl.DataFrame:
    """The mean of each case over seeds."""
    values = np.mean([one[METRIC].to_numpy() for one in found], axis=0)
    return found[0].with_columns(pl.Series(METRIC, values))


def _cell(ours: pl.DataFrame, ease: pl.DataFrame, name: str) -> str:
    gain = paired_difference(
        ours, ease, METRIC, slice_name=name, confidence=CONFIDENCE, samples=SAMPLES, seed=0
    )
    told = tables.gain(gain.difference, gain.ci_low, gain.ci_high)
    return f"{gain.candidate_mean:.4f} ({told})"


def _growth() -> list[str]:
    """Seconds and memory of k-means with 10 groups in 64 dimensions."""
    rows = []
    for n in (10**4, 10**5, 10**6):
        points = np.random.default_rng(0).standard_normal((n, 64), np.float32)
        start = time.process_time()
        k_means(points, 10, 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append([f"{n:,}", f"{time.process_time() - start:.1f}", f"{peak:.1f}"])
    return [
        "k-means, 10 groups of vectors of 64 numbers:",
        tables.markdown(["users", "CPU seconds", "peak GiB of the process"], rows),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movietweetings", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of group_gan; default: auto")
    parser.add_argument("--users", type=int, help="a random sample of them; default: all")
    parser.add_argument("--growth", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
