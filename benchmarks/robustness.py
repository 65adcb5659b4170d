"""BPR with and without adversarial training (APR), under label noise and under attacks that push
items.

    python -m benchmarks.robustness                                    # a simulated shop
    python -m benchmarks.robustness --layout movielens_100k --folder FOLDER

Noise: a share of the training rows gets an item drawn at random. Attack: fake users, as many as a
share of the real ones, each with all pushed items and fillers drawn by popularity, as many as the
median user has (a bandwagon attack). Both recommenders train on the same rows with the same seed
and the same number of gradient steps; every figure is a mean over seeds, first by user; intervals
are paired bootstraps over users. How far the adversary moves the vectors (ε) and the weight of its
loss (λ) are fixed, not searched: this is one setting of APR, not its best.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import interval
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.data import random_split, split_rows
from benchmarks.environments import WHERE

NOISE = (0.0, 0.1, 0.2, 0.4)
ATTACK = (0.05, 0.1, 0.2)
N_PUSHED = 5
K = 10
ARMS: dict[str, dict[str, Any]] = {
    "BPR": {},
    "APR": {"adversarial_epsilon": 0.05, "adversarial_weight": 1.0},
}


@dataclass(frozen=True)
class Measured:
    """One arm on one training set, a row for each case, the mean over seeds: NDCG@10, pushed items
    in the top 10."""

    ndcg: np.ndarray
    pushed: np.ndarray


def main() -> None:
    given = _arguments()
    name = given.folder.name if given.layout else "simulated"
    split = given.where / f"robustness-{name}"
    if given.layout:
        random_split(given.layout, given.folder, split, given.seed)
    else:
        shop = ShopConfig(n_users=1500, n_items=800, n_interactions=120_000)
        events = simulate(shop, given.seed).interactions.select(C.USER, C.ITEM, C.TIMESTAMP)
        split_rows(
            events.unique([C.USER, C.ITEM], keep="first", maintain_order=True), split, given.seed
        )
    train, cases = (pl.read_parquet(split / f"{name}.parquet") for name in ("train", "cases"))
    targets = _pushed(train, given.seed)
    found = {
        "noise": [
            _both(_noisy(train, share, given.seed), cases, targets, given) for share in NOISE
        ],
        "attack": [
            _both(_attacked(train, targets, share, given.seed), cases, targets, given)
            for share in ATTACK
        ],
    }
    clean = found["noise"][0]
    parts = [
        _facts(train, cases, given),
        _noise_table(found["noise"]),
        _attack_table(clean, found["attack"]),
    ]
    tables.write(
        f"robustness-{name}",
        f"Noise and attacks: {name}",
        parts,
        tables.command_line("benchmarks.robustness"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--layout", help="of the raw data, e.g. movielens_100k; a simulated shop without it"
    )
    parser.add_argument("--folder", type=Path, help="the folder of the raw data")
    parser.add_argument("--seeds", type=int, default=3, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=400, help="gradient steps")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the split")
    return parser.parse_args()


def _pushed(train: pl.DataFrame, seed: int) -> np.ndarray:
    """Items that are rarely recommended: drawn from the less popular half, str (N_PUSHED,)."""
    counts = train.group_by(C.ITEM).len().sort("len", C.ITEM)
    rare = counts[C.ITEM].head(len(counts) // 2).to_numpy()
    return rng(seed, "pushed").choice(rare, N_PUSHED, replace=False)


def _noisy(train: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """`share` of the rows with an item drawn at random from the catalogue in place of their own."""
    draw = rng(seed, "noise")
    items = train[C.ITEM].unique().sort()
    wrong = items.gather(draw.integers(0, len(items), len(train)))
    hit = pl.Series(draw.random(len(train)) < share)
    return train.with_columns(pl.when(hit).then(wrong).otherwise(pl.col(C.ITEM)).alias(C.ITEM))


def _attacked(train: pl.DataFrame, targets: np.ndarray, share: float, seed: int) -> pl.DataFrame:
    """The rows and those of the fake users."""
    draw = rng(seed, "attack")
    lengths = train.group_by(C.USER).len()["len"].to_numpy()
    n_fake = max(1, round(share * len(lengths)))
    n_fillers = max(1, int(np.median(lengths)) - len(targets))
    fillers = train[C.ITEM].gather(
        draw.integers(0, len(train), n_fake * n_fillers)
    )  # by popularity
    names = [f"fake{number:06}" for number in range(n_fake)]
    users = np.repeat(names, len(targets) + n_fillers)
    items = np.concatenate(
        [np.tile(targets, (n_fake, 1)), fillers.to_numpy().reshape(n_fake, n_fillers)], axis=1
    )
    moments = train[C.TIMESTAMP].gather(draw.integers(0, len(train), len(users)))
    fake = pl.DataFrame(
        {C.USER: users.tolist(), C.ITEM: items.ravel().tolist(), C.TIMESTAMP: moments}
    )
    return pl.concat([train, fake.unique([C.USER, C.ITEM], maintain_order=True)])


def _both(
    rows: pl.DataFrame, cases: pl.DataFrame, targets: np.ndarray, given: argparse.Namespace
) -> dict[str, Measured]:
    """Each arm on these rows."""
    found = {}
    for arm, config in ARMS.items():
        runs = [_one(rows, cases, targets, config, turn, given) for turn in range(given.seeds)]
        found[arm] = Measured(*(np.mean(parts, axis=0) for parts in zip(*runs, strict=True)))
        print(arm, f"{len(rows):,} rows, NDCG@{K} {found[arm].ndcg.mean():.4f}", flush=True)
    return found


def _one(
    rows: pl.DataFrame,
    cases: pl.DataFrame,
    targets: np.ndarray,
    config: dict[str, Any],
    turn: int,
    given: argparse.Namespace,
) -> tuple[np.ndarray, np.ndarray]:
    model = find("bpr")(config | {"steps": given.steps}, seed=derive(given.seed, turn)).fit(
        TrainingData(rows)
    )
    ranked = rank_cases(model, cases, K)
    pushed = np.isin(ranked, model.items.encode(pl.Series(targets.tolist()))).sum(1)
    return per_case(ranked, cases, model, (K,))[f"ndcg@{K}"].to_numpy(), pushed


def _noise_table(found: Sequence[dict[str, Measured]]) -> str:
    clean, rows = found[0], []
    for share, arms in zip(NOISE, found, strict=True):
        cells = [f"{share:.0%}", *(f"{arms[arm].ndcg.mean():.4f}" for arm in ARMS)]
        cells.append(_interval(arms["APR"].ndcg - arms["BPR"].ndcg))
        for arm in ARMS:
            cells.append(_interval(clean[arm].ndcg - arms[arm].ndcg) if share else "")
        saved = (clean["BPR"].ndcg - arms["BPR"].ndcg) - (clean["APR"].ndcg - arms["APR"].ndcg)
        rows.append([*cells, _interval(saved) if share else ""])
    names = ("BPR", "APR", "APR better by", "BPR loses", "APR loses", "APR loses less by")
    return tables.markdown([f"NDCG@{K} by share of label noise", *names], rows)


def _attack_table(clean: dict[str, Measured], found: Sequence[dict[str, Measured]]) -> str:
    rows = []
    for share, arms in zip((0.0, *ATTACK), (clean, *found), strict=True):
        cells = [f"{share:.0%}", *(f"{arms[arm].pushed.mean():.3f}" for arm in ARMS)]
        cells.append(_interval(arms["BPR"].pushed - arms["APR"].pushed))
        rows.append(
            [
                *cells,
                *(_interval(clean[arm].ndcg - arms[arm].ndcg) if share else "" for arm in ARMS),
            ]
        )
    names = (
        "in BPR",
        "in APR",
        "fewer in APR by",
        f"BPR loses NDCG@{K}",
        f"APR loses NDCG@{K}",
    )
    return tables.markdown([f"Pushed items in the top {K} by share of fake users", *names], rows)


def _interval(values: np.ndarray) -> str:
    low, high = interval(values.astype(np.float64), confidence=0.95, samples=2000, seed=0)
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def _facts(train: pl.DataFrame, cases: pl.DataFrame, given: argparse.Namespace) -> str:
    epsilon, weight = ARMS["APR"]["adversarial_epsilon"], ARMS["APR"]["adversarial_weight"]
    return (
        f"{len(train):,} clean training rows of {train[C.USER].n_unique():,} users; {len(cases):,} "
        f"users, ranked over the full catalogue; {N_PUSHED} pushed items; {given.steps} gradient "
        f"steps, {given.seeds} seeds; APR: ε {epsilon}, λ {weight}, after half of the steps. In "
        "brackets: 95 % paired bootstrap over users."
    )


if __name__ == "__main__":
    main()
