"""Neural recommenders with and without adversarial training, under label noise and under attacks
that push items.

    python -m benchmarks.robustness dense
    python -m benchmarks.robustness ml-100k=recbole:FOLDER mt=movietweetings:FOLDER:dense

Noise: a share of the training rows gets an item drawn at random. Attack: fake users, as many as a
share of the real ones, each with all pushed items and fillers (`benchmarks._corrupted`). A seed
draws noise, fake users and the model's training anew.

Three arms of a model train on the same rows with the same seeds and the same number of gradient
steps: plain, against the adversary, and with its placebo, random moves of the same length. Method
and ε of the adversary are chosen on validation users, with a seed and noise of their own: the best
NDCG under 20 % noise among those that cost at most `TOLERATED` of the clean NDCG; without such one,
the one that costs least.

Every figure is a mean over seeds, first by user; intervals are paired bootstraps over users,
widened by the variation between seeds. What has been measured is kept below `var/benchmarks`, a
file for each training: an interrupted run continues, and writes its table after each condition.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import Noise, interval
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import cache, default_sets, tables
from benchmarks._corrupted import FILLERS, attacked, noisy, pushed_items

ADVERSARIAL = ("multvae", "recvae", "bpr", "mmoe", "cfgan", "group_gan", "gru4rec", "sasrec")
BESIDE = ("popularity", "ials", "ease", "item_knn")
"""Not trained by gradients: one arm."""
NOISE = (0.2, 0.4, 0.1)
FAKE = (0.05, 0.01, 0.03)
SETTINGS = (("fast", 0.03), ("fast", 0.1), ("fast", 0.3))
ARMS = ("plain", "adversary", "placebo")
CHOSEN_UNDER, TOLERATED = "noise 20%", 0.005
N_PUSHED, K, DEEP = 5, 10, 50

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """An arm on one condition, a row for each seed and a column for each case: NDCG@10, and how
    many pushed items are in the top 50."""

    ndcg: np.ndarray
    pushed: np.ndarray


class Data:
    """A data set, its conditions, and what was measured on it.

    Args:
        name: of the set.
        spec: see `benchmarks.default_sets.cells`; None: a simulated shop of that name.
        given: the arguments.
        where: what was measured stays here.
    """

    def __init__(self, name: str, spec: str | None, given: argparse.Namespace, where: Path) -> None:
        split = default_sets.cells(name, spec, "random", given.seed)
        self.name, self._given, self._where = name, given, where
        self.train = split.train.select(C.USER, C.ITEM, C.TIMESTAMP)
        self.parts = {"valid": split.cases_valid, "test": split.cases_test}

    @cached_property
    def pushed(self) -> pl.Series:
        return pushed_items(self.train, N_PUSHED, self._given.seed)

    def rows(self, condition: str, seed: int) -> pl.DataFrame:
        """The training rows under a condition, such as "clean", "noise 20%" or "average 5%"."""
        kind, _, share = condition.partition(" ")
        if kind == "clean":
            return self.train
        part = float(share.rstrip("%")) / 100
        if kind == "noise":
            return noisy(self.train, part, seed)
        return attacked(self.train, self.pushed, kind, part, seed)

    def measure(self, part: str, model: str, condition: str, keys: Keys) -> Measured:
        """Over all seeds; validation cases with a seed of their own."""
        turns = range(self._given.seeds) if part == "test" else [-1]
        runs = [self._one(part, model, condition, keys, turn) for turn in turns]
        return Measured(*(np.stack(each) for each in zip(*runs, strict=True)))

    def _one(
        self, part: str, model: str, condition: str, keys: Keys, turn: int
    ) -> tuple[np.ndarray, np.ndarray]:
        words = [f"{name}={value}" for name, value in keys.items()]
        name = "-".join([self.name, model, condition, *words, str(turn)]).replace(" ", "-")
        path = self._where / f"{name}.npz"
        if not path.exists():
            seed = derive(self._given.seed, turn)
            config = dict(keys) if model in BESIDE else {"steps": self._given.steps, **keys}
            fitted = find(model)(config, seed=seed).fit(TrainingData(self.rows(condition, seed)))
            ranked = rank_cases(fitted, self.parts[part], DEEP)
            pushed = np.isin(ranked, fitted.items.encode(self.pushed)).sum(1)
            measured = per_case(ranked[:, :K], self.parts[part], fitted, (K,))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, ndcg=measured[f"ndcg@{K}"].to_numpy(), pushed=pushed.astype(np.float64))
        with np.load(path) as stored:
            return stored["ndcg"], stored["pushed"]


def main() -> None:
    given = _arguments()
    where = cache.folder("robustness", __file__, seed=given.seed, steps=given.steps)
    specs = [one.partition("=")[::2] for one in given.sets]
    sets = [Data(name, spec or None, given, where) for name, spec in specs]
    arms, chosen = {}, []
    for data in sets:
        for model in given.models:
            if model not in BESIDE:
                arms[data.name, model], row = _choose(data, model)
                chosen.append(row)
                print(*row, flush=True)
            else:
                arms[data.name, model] = {"plain": {}}
    conditions = ["clean", *(f"noise {share:.0%}" for share in given.noise)]
    conditions += [f"{kind} {share:.0%}" for share in given.fake for kind in FILLERS]
    found: dict[tuple[str, str, str], dict[str, Measured]] = {}
    for condition in conditions:
        for data in sets:
            for model in given.models:
                found[data.name, model, condition] = {
                    arm: data.measure("test", model, condition, keys)
                    for arm, keys in arms[data.name, model].items()
                }
        _write(chosen, found, sets, given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets",
        nargs="+",
        help=f"NAME=LAYOUT:FOLDER, or one of the shops {', '.join(default_sets.SHOPS)}",
    )
    parser.add_argument("--models", nargs="+", choices=ADVERSARIAL + BESIDE, default=ADVERSARIAL)
    parser.add_argument("--noise", nargs="*", type=float, default=NOISE)
    parser.add_argument("--fake", nargs="*", type=float, default=FAKE)
    parser.add_argument("--seeds", type=int, default=5, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=400, help="gradient steps")
    parser.add_argument("--seed", type=int, default=20260)
    return parser.parse_args()


def _arms(method: str, epsilon: float) -> dict[str, dict[str, Any]]:
    length = {"adversarial_epsilon": epsilon}
    return {
        "plain": {},
        "adversary": length | {"adversarial_method": method},
        "placebo": length | {"adversarial_method": "random"},
    }


def _choose(data: Data, model: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The arms with the method and ε that validation users prefer, and the row that says why."""

    def means(keys: Keys) -> tuple[float, float]:
        each = (data.measure("valid", model, name, keys) for name in ("clean", CHOSEN_UNDER))
        clean, under = (float(one.ndcg.mean()) for one in each)
        return clean, under

    plain = means({})
    tried = {setting: means(_arms(*setting)["adversary"]) for setting in SETTINGS}
    harmless = [
        setting for setting, (clean, _) in tried.items() if clean >= (1 - TOLERATED) * plain[0]
    ]
    if harmless:
        best = max(harmless, key=lambda setting: tried[setting][1])
    else:
        best = max(tried, key=lambda setting: tried[setting][0])
    told = [f"{clean:.4f} / {under:.4f}" for clean, under in (plain, *tried.values())]
    return _arms(*best), [f"{data.name}, {model}", *told, f"{best[0]} {best[1]:g}"]


def _noise_row(
    label: str, arms: Mapping[str, Measured], clean: Mapping[str, Measured]
) -> list[str]:
    told = [f"{arms[arm].ndcg.mean():.4f}" if arm in arms else "" for arm in ARMS]
    if len(arms) == 1:
        return [label, *told, *[""] * 4]
    others = ("plain", "placebo")
    better = [interval_of(arms["adversary"].ndcg - arms[arm].ndcg) for arm in others]
    lost = {arm: clean[arm].ndcg - arms[arm].ndcg for arm in arms}
    saved = [interval_of(lost[arm] - lost["adversary"]) for arm in others]
    return [label, *told, *better, *(saved if arms is not clean else ["", ""])]


def _pushed_row(label: str, arms: Mapping[str, Measured]) -> list[str]:
    told = [f"{arms[arm].pushed.mean():.3f}" if arm in arms else "" for arm in ARMS]
    if len(arms) == 1:
        return [label, *told, "", ""]
    fewer = [
        interval_of(arms[arm].pushed - arms["adversary"].pushed) for arm in ("plain", "placebo")
    ]
    return [label, *told, *fewer]


def interval_of(values: np.ndarray) -> str:
    """Of differences (seeds, cases): their mean, between users and between seeds."""
    seeds, each = values.mean(1), values.mean(0)
    noise = Noise(float(seeds.std(ddof=1) / len(seeds) ** 0.5), len(seeds) - 1)
    low, high = interval(each, confidence=0.95, samples=2000, seed=0, noise=noise)
    return tables.gain(float(each.mean()), low, high)


def _write(
    chosen: list[list[str]],
    found: Mapping[tuple[str, str, str], Mapping[str, Measured]],
    sets: list[Data],
    given: argparse.Namespace,
) -> None:
    noise, pushed = [], []
    for (name, model, condition), arms in found.items():
        label = f"{name}, {model}, {condition}"
        noise.append(_noise_row(label, arms, found[name, model, "clean"]))
        if not condition.startswith("noise"):
            pushed.append(_pushed_row(label, arms))
    sizes = "; ".join(
        f"{one.name}: {len(one.train):,} clean training rows of {one.train[C.USER].n_unique():,} "
        f"users, {len(one.parts['test']):,} test users"
        for one in sets
    )
    facts = (
        f"{sizes}. Ranked over the full catalogue; {N_PUSHED} pushed items; {given.steps} gradient "
        f"steps, {given.seeds} seeds; λ 1, after half of the steps. In brackets: 95 %, paired "
        "bootstrap over users, widened by the variation between seeds; bold: on one side of 0. "
        "Method and ε were chosen on validation users; which models and conditions are here was "
        "narrowed for time, after some test values had been seen."
    )
    settings = [f"{method} {epsilon:g}" for method, epsilon in SETTINGS]
    others = ["adversary better than plain by", "than placebo by"]
    saved = ["loses less than plain by", "than placebo by"]
    parts = [
        facts,
        f"NDCG@{K} of validation users, one seed, clean / {CHOSEN_UNDER}. Taken is the best "
        f"under noise of those that cost at most {TOLERATED:.1%} of the clean NDCG, or what costs "
        "least.",
        tables.markdown(["data, model", "plain", *settings, "taken"], chosen),
        f"NDCG@{K}. A loss is what the same arm has less than on clean rows.",
        tables.markdown(["data, model, training rows", *ARMS, *others, *saved], noise),
    ]
    if given.fake:
        parts += [
            f"Pushed items in the top {DEEP}, of {N_PUSHED}.",
            tables.markdown(
                ["data, model, fake users", *ARMS, "fewer than plain by", "than placebo by"], pushed
            ),
        ]
    command = tables.command_line("benchmarks.robustness")
    name = "-".join(["robustness", *(one.name for one in sets)])
    tables.write(name, "Noise and attacks", parts, command, tables.own_versions())


if __name__ == "__main__":
    main()
