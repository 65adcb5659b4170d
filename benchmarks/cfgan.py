"""CFGAN as a recommender on CFGAN's protocol: a random fifth of all ratings is the test, each
rating counts as 1.

    python -m benchmarks.cfgan movielens_100k FOLDER

Several splits, each with its own seed, for the models too; lists are ranked over the full
catalogue. CFGAN's partial masking is chosen on a fifth of each split's training rows. EASE and iALS
have the settings of `benchmarks.settings`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import interval
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.data import random_split, validation_part
from benchmarks.environments import WHERE
from benchmarks.settings import RANDOM

METRICS = ("precision@5", "precision@20", "recall@20", "ndcg@20")
PUBLISHED = {"CFGAN": (0.444, 0.294, 0.360, 0.433), "iALS": (0.449, 0.299, 0.359, 0.444)}
"""Chae et al. 2018, table of MovieLens 100K, on their single split."""
ARM, ONE, TOGETHER = "CFGAN", "CFGAN, one generator", {"generators": 4}
SETTINGS: dict[str, Any] = {"truncate": 0.0, "hidden": 300, "steps": 1000, "learning_rate": 1e-3}
"""All users have a history here, so none is truncated to that of a cold user."""
TRIED: list[dict[str, Any]] = [{"partial_masking": share} for share in (0.05, 0.1)]
WITHOUT: dict[str, dict[str, Any]] = {
    "without noise": {"noise": 0, "variety": 0.0},
    "without variety loss": {"variety": 0.0},
    "without dropout": {"dropout": 0.0},
    "without partial masking": {"partial_masking": 0.0},
    "without zero reconstruction": {"zero_reconstruction": 0.0},
}


@dataclass(frozen=True)
class Run:
    """One model on one split: the metrics of each case, the share of lists that noise changes, CPU
    seconds of training."""

    measured: pl.DataFrame
    varied: float
    seconds: float

    def means(self) -> list[float]:
        return [float(self.measured[metric].mean()) for metric in METRICS]  # type: ignore[arg-type]


def main() -> None:
    given = _arguments()
    runs: dict[str, list[Run]] = {}
    chosen = []
    for number in range(given.splits):
        split = given.where / f"cfgan-{given.folder.name}-{number}"
        seed = derive(given.seed, "split", number)
        random_split(given.layout, given.folder, split, seed)
        train, cases = (pl.read_parquet(split / f"{name}.parquet") for name in ("train", "cases"))
        chosen.append(_choose(train, seed))
        for label, name, settings in _arms(chosen[-1], variants=number < given.variants):
            runs.setdefault(label, []).append(_run(name, settings, train, cases, seed))
            print(number, label, [f"{mean:.4f}" for mean in runs[label][-1].means()], flush=True)
    tables.write(
        "cfgan",
        f"CFGAN as a recommender: {given.folder.name}",
        [_facts(given, chosen), _table(runs), _against(runs)],
        tables.command_line("benchmarks.cfgan"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", help="of the raw data, e.g. movielens_100k, recbole")
    parser.add_argument("folder", type=Path, help="where the raw data lies")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument(
        "--variants", type=int, default=1, help="splits on which parts of CFGAN are left out"
    )
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the splits")
    return parser.parse_args()


def _choose(train: pl.DataFrame, seed: int) -> dict[str, Any]:
    """The best of `TRIED` by NDCG@20 on a fifth of the training rows."""
    rows, wanted = validation_part(train, seed)
    values = [_run("cfgan", SETTINGS | each, rows, wanted, seed).means()[-1] for each in TRIED]
    print("validated", [f"{value:.4f}" for value in values], flush=True)
    return TRIED[int(np.argmax(values))]


def _arms(chosen: dict[str, Any], *, variants: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Label, recommender, settings."""
    yield "popularity", "popularity", {}
    for name, label in (("ease", "EASE"), ("ials", "iALS")):
        yield label, name, RANDOM[name][0][2]
    yield ARM, "cfgan", SETTINGS | chosen | TOGETHER
    yield ONE, "cfgan", SETTINGS | chosen
    if variants:
        for label, change in WITHOUT.items():
            yield label, "cfgan", SETTINGS | chosen | change


def _run(
    name: str, settings: dict[str, Any], train: pl.DataFrame, cases: pl.DataFrame, seed: int
) -> Run:
    settings = settings | ({"eval_every": settings["steps"]} if "steps" in settings else {})
    began = time.process_time()
    recommender = find(name)(settings, seed=seed).fit(TrainingData(train))
    seconds = time.process_time() - began
    measured = per_case(rank_cases(recommender, cases, 20), cases, recommender, (5, 20))
    return Run(measured, _varied(recommender, cases, seed) if name == "cfgan" else 0.0, seconds)


@torch.inference_mode()
def _varied(recommender: Any, cases: pl.DataFrame, seed: int) -> float:
    """The share of a list of 20 that another draw of noise changes."""
    network, random = recommender._network, torch.Generator().manual_seed(seed)
    seen = Histories.from_lists(cases["history"], recommender.items).matrix()
    seen.data[:] = 1
    x = torch.from_numpy(seen.toarray())
    read = network.read(F.normalize(x, dim=1))
    noise = torch.randn(2, len(x), network.vary.in_features, generator=random)
    scores = network.write(torch.tanh(read + network.vary(noise))).masked_fill(x > 0, -torch.inf)
    one, other = scores.topk(20).indices
    return 1 - float((one[:, :, None] == other[:, None]).any(2).float().mean())


def _table(runs: dict[str, list[Run]]) -> str:
    rows = [
        [f"{name}, as published", *(f"{value:.3f}" for value in values), "", ""]
        for name, values in PUBLISHED.items()
    ]
    for label, found in runs.items():
        means = np.array([run.means() for run in found])  # (splits, metrics)
        spread = means.std(0, ddof=1) if len(found) > 1 else np.zeros(len(METRICS))
        cells = [f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(means.mean(0), spread, strict=True)]
        varied = (
            f"{np.mean([run.varied for run in found]):.0%}"
            if "CFGAN" in label or label in WITHOUT
            else ""
        )
        name = f"{ONE}, {label}, {len(found)} split(s)" if label in WITHOUT else label
        rows.append([name, *cells, varied, f"{np.mean([run.seconds for run in found]):.1f}"])
    return tables.markdown(["", *METRICS, "noise changes", "CPU s"], rows)


def _against(runs: dict[str, list[Run]]) -> str:
    """What CFGAN gains, on the splits that both were trained on; of each user the mean over those.
    One generator over its variants."""
    rows = []
    for label, found in runs.items():
        if label != ARM:
            pairs = list(zip(runs[ONE if label in WITHOUT else ARM], found, strict=False))
            name = f"{label}, of one generator" if label in WITHOUT else label
            rows.append([name, *(_gain(pairs, metric) for metric in METRICS)])
    return tables.markdown(["CFGAN's gain over", *METRICS], rows)


def _gain(pairs: Sequence[tuple[Run, Run]], metric: str) -> str:
    gained = pl.concat(
        ours.measured.select(C.USER, gain=ours.measured[metric] - theirs.measured[metric])
        for ours, theirs in pairs
    )
    values = (
        gained.group_by(C.USER, maintain_order=True).agg(pl.col("gain").mean())["gain"].to_numpy()
    )
    return tables.gain(values.mean(), *interval(values, confidence=0.95, samples=2000, seed=0))


def _facts(given: argparse.Namespace, chosen: list[dict[str, Any]]) -> str:
    masks = ", ".join(f"{each['partial_masking']:g}" for each in chosen)
    return (
        f"{given.splits} random splits, each with its own seed; means over each test's users, ± "
        f"the standard deviation over splits. CFGAN: {SETTINGS | TOGETHER}, all else by default; "
        f"partial masking chosen with one generator, split by split: {masks}. The published "
        "figures are of one other split. Noise changes: the share of a list of 20 that differs "
        "between two draws of noise; scores are taken without noise. In brackets: 95 % paired "
        "bootstrap over users, each user's mean over splits."
    )


if __name__ == "__main__":
    main()
