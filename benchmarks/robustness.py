"""Neural recommenders with and without adversarial training, under label noise and under attacks
that push items.

    python -m benchmarks.robustness                                    # a simulated shop
    python -m benchmarks.robustness --layout movielens_100k --folder FOLDER --models multvae bpr

Noise: a share of the training rows gets an item drawn at random. Attack: fake users, as many as a
share of the real ones, each with all pushed items and fillers, as many as the median user has:
drawn evenly (random), by popularity (average), or the most popular items (bandwagon).

Three arms of a model train on the same rows with the same seeds and the same number of gradient
steps: plain, against the adversary, and with its placebo, random moves of the same length. ε is
chosen among `EPSILONS` by a validation part of the clean training rows, with one seed; the test
cases are looked at once. Every figure is a mean over seeds, first by user; intervals are paired
bootstraps over users.
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
from benchmarks.data import random_split, split_rows, validation_part
from benchmarks.environments import WHERE

MODELS = ("bpr", "cfgan", "group_gan", "gru4rec", "mmoe", "multvae", "recvae", "sasrec")
NOISE = (0.1, 0.2, 0.4)
FAKE = (0.01, 0.03, 0.05)
FILLERS = ("random", "average", "bandwagon")
EPSILONS = (0.1, 0.3, 1.0)
N_PUSHED, K, DEEP = 5, 10, 50


@dataclass(frozen=True)
class Measured:
    """One arm on one training set, a row for each case, the mean over seeds: NDCG@10, and how many
    pushed items are in the top 50."""

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
    if given.max_cases:
        cases = cases.gather_every(max(1, len(cases) // given.max_cases))
    targets = _pushed(train, given.seed)
    conditions = {"clean": train}
    conditions |= {f"noise {share:.0%}": _noisy(train, share, given.seed) for share in given.noise}
    conditions |= {
        f"{kind} {share:.0%}": _attacked(train, targets, kind, share, given.seed)
        for share in given.fake
        for kind in FILLERS
    }
    noise, pushed, chosen = [], [], []
    for model in given.models:
        epsilon, tried = _choose(model, train, given)
        chosen.append([model, *tried, f"{epsilon:g}"])
        print(model, "ε", epsilon, tried, flush=True)
        arms = _arms(epsilon)
        found = {
            condition: {arm: _mean(model, rows, cases, targets, keys, given) for arm, keys in arms}
            for condition, rows in conditions.items()
        }
        noise += [_noise_row(model, condition, found) for condition in found]
        pushed += [
            _pushed_row(model, condition, found) for condition in found if "noise" not in condition
        ]
        _write(name, chosen, noise, pushed, train, cases, given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--layout", help="of the raw data, e.g. movielens_100k; a simulated shop without it"
    )
    parser.add_argument("--folder", type=Path, help="the folder of the raw data")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--noise", nargs="*", type=float, default=NOISE)
    parser.add_argument("--fake", nargs="*", type=float, default=FAKE)
    parser.add_argument("--seeds", type=int, default=5, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=400, help="gradient steps")
    parser.add_argument("--method", default="fast", help="fast, projected or virtual")
    parser.add_argument("--max-cases", type=int, help="test users, at most about")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the split")
    return parser.parse_args()


def _arms(epsilon: float) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("plain", {}),
        ("adversary", {"adversarial_epsilon": epsilon}),
        ("placebo", {"adversarial_epsilon": epsilon, "adversarial_method": "random"}),
    ]


def _choose(model: str, train: pl.DataFrame, given: argparse.Namespace) -> tuple[float, list[str]]:
    """The best ε above 0 on a validation part, and NDCG@10 there of 0 and of each."""
    rows, cases = validation_part(train, given.seed)
    values = [
        _one(model, rows, cases, np.zeros(0, str), {"adversarial_epsilon": epsilon}, 0, given)[
            0
        ].mean()
        for epsilon in (0.0, *EPSILONS)
    ]
    return EPSILONS[int(np.argmax(values[1:]))], [f"{value:.4f}" for value in values]


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


def _attacked(
    train: pl.DataFrame, targets: np.ndarray, kind: str, share: float, seed: int
) -> pl.DataFrame:
    """The rows and those of the fake users."""
    draw = rng(seed, "attack", kind)
    lengths = train.group_by(C.USER).len()["len"].to_numpy()
    n_fake = max(1, round(share * len(lengths)))
    n_fillers = max(1, int(np.median(lengths)) - len(targets))
    counts = train.group_by(C.ITEM).len().sort(["len", C.ITEM], descending=[True, False])
    if kind == "random":
        source = counts[C.ITEM]
    elif kind == "average":
        source = train[C.ITEM]  # by popularity
    else:
        source = counts[C.ITEM].head(2 * n_fillers)
    fillers = source.gather(draw.integers(0, len(source), n_fake * n_fillers))
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


def _mean(
    model: str,
    rows: pl.DataFrame,
    cases: pl.DataFrame,
    targets: np.ndarray,
    keys: dict[str, Any],
    given: argparse.Namespace,
) -> Measured:
    runs = [_one(model, rows, cases, targets, keys, turn, given) for turn in range(given.seeds)]
    return Measured(*(np.mean(parts, axis=0) for parts in zip(*runs, strict=True)))


def _one(
    model: str,
    rows: pl.DataFrame,
    cases: pl.DataFrame,
    targets: np.ndarray,
    keys: dict[str, Any],
    turn: int,
    given: argparse.Namespace,
) -> tuple[np.ndarray, np.ndarray]:
    config = {"adversarial_method": given.method, "steps": given.steps} | keys
    fitted = find(model)(config, seed=derive(given.seed, turn)).fit(TrainingData(rows))
    ranked = rank_cases(fitted, cases, DEEP)
    pushed = np.isin(ranked, fitted.items.encode(pl.Series(targets.tolist(), dtype=pl.String)))
    ndcg = per_case(ranked[:, :K], cases, fitted, (K,))[f"ndcg@{K}"].to_numpy()
    return ndcg, pushed.sum(1).astype(np.float64)


def _noise_row(model: str, condition: str, found: dict[str, dict[str, Measured]]) -> list[str]:
    arms, clean = found[condition], found["clean"]
    lost = {arm: clean[arm].ndcg - arms[arm].ndcg for arm in arms}
    told = [f"{arms[arm].ndcg.mean():.4f}" for arm in arms]
    told += [_interval(arms["adversary"].ndcg - arms[arm].ndcg) for arm in ("plain", "placebo")]
    saved = [lost[arm] - lost["adversary"] for arm in ("plain", "placebo")]
    return [
        f"{model}, {condition}",
        *told,
        *(_interval(one) if condition != "clean" else "" for one in saved),
    ]


def _pushed_row(model: str, condition: str, found: dict[str, dict[str, Measured]]) -> list[str]:
    arms = found[condition]
    told = [f"{arms[arm].pushed.mean():.3f}" for arm in arms]
    others = ("plain", "placebo")
    return [
        f"{model}, {condition}",
        *told,
        *(_interval(arms[arm].pushed - arms["adversary"].pushed) for arm in others),
    ]


def _interval(values: np.ndarray) -> str:
    low, high = interval(values.astype(np.float64), confidence=0.95, samples=2000, seed=0)
    return tables.gain(values.mean(), low, high)


def _write(
    name: str,
    chosen: Sequence[Sequence[str]],
    noise: Sequence[Sequence[str]],
    pushed: Sequence[Sequence[str]],
    train: pl.DataFrame,
    cases: pl.DataFrame,
    given: argparse.Namespace,
) -> None:
    facts = (
        f"{len(train):,} clean training rows of {train[C.USER].n_unique():,} users; {len(cases):,} "
        f"test users, ranked over the full catalogue; {N_PUSHED} pushed items; {given.steps} "
        f"gradient steps, {given.seeds} seeds; method {given.method}, λ 1, after half of the "
        "steps. In brackets: 95 % paired bootstrap over users; bold: on one side of 0. The test "
        "users were looked at once."
    )
    epsilons = ["model", *(f"ε {epsilon:g}" for epsilon in (0.0, *EPSILONS)), "chosen"]
    arms = ("plain", "adversary", "placebo")
    parts = [
        facts,
        f"NDCG@{K} on the validation part; the best ε above 0 is taken.",
        tables.markdown(epsilons, chosen),
        f"NDCG@{K}; the loss is that against the same arm's clean value.",
        tables.markdown(
            [
                "model, training rows",
                *arms,
                "adversary better than plain by",
                "than placebo by",
                "loses less than plain by",
                "than placebo by",
            ],
            noise,
        ),
        f"Pushed items in the top {DEEP}, of {N_PUSHED}.",
        tables.markdown(
            ["model, fake users", *arms, "fewer than plain by", "than placebo by"], pushed
        ),
    ]
    title = f"Noise and attacks: {name}"
    command = tables.command_line("benchmarks.robustness")
    some = "" if tuple(given.models) == MODELS else "-" + "-".join(given.models)
    tables.write(f"robustness-{name}{some}", title, parts, command, tables.own_versions())


if __name__ == "__main__":
    main()
