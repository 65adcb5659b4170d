"""Do policies help that add what a model is worst at? `adversarial_users` and `adversarial_items`
next to real data alone, their placebos, and copies of users, on clean rows and under label noise.

    python -m benchmarks.adversarial_policies movietweetings=movietweetings:FOLDER:dense

ε of the moves is chosen on validation users, for the policy and for its placebo alike, with a seed
and noise of their own; all other settings are the defaults. Items come from a `profile_vae` trained
on the same rows. A seed draws noise, policy and training anew. Intervals are paired bootstraps over
users, widened by the variation between seeds.
"""

from __future__ import annotations

import argparse
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from augrec.augmentation.base import Policy, PolicyInputs, Steps
from augrec.core.seeds import derive
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.generators.base import find as find_generator
from augrec.recommenders.base import find
from benchmarks import default_sets, tables
from benchmarks._corrupted import noisy
from benchmarks.robustness import interval_of

K = 10
GENERATOR = "profile_vae"
CONDITIONS = {"clean": 0.0, "noise 20%": 0.2}
EPSILONS = (0.1, 0.3)
CHOSEN = ("adversarial users", "random moves")


def _arms() -> dict[str, list[Steps]]:
    """Name: what validation users choose among."""
    items = {"sample": GENERATOR}
    moved = [{"adversarial_users": {"epsilon": epsilon}} for epsilon in EPSILONS]
    anywhere = [
        {"adversarial_users": {"epsilon": epsilon, "direction": "random"}} for epsilon in EPSILONS
    ]
    return {
        "none": [[]],
        "copies": [[{"bootstrap": {}}]],
        "adversarial users": [[one] for one in moved],
        "random moves": [[one] for one in anywhere],
        "generated users": [[{"mix": items}]],
        "adversarial items": [[{"adversarial_items": items}]],
        "random items": [[{"adversarial_items": {**items, "items": "random"}}]],
    }


PAIRS = (
    ("adversarial users", "none"),
    ("adversarial users", "random moves"),
    ("adversarial items", "none"),
    ("adversarial items", "random items"),
)


class Data:
    """A data set, and policies on it.

    Args:
        name, spec: see `benchmarks.default_sets.cells`.
        seed: of the split and of everything drawn.
    """

    def __init__(self, name: str, spec: str | None, seed: int) -> None:
        split = default_sets.cells(name, spec, "random", seed)
        self.name, self.seed, self.train = name, seed, split.train.select(INTERACTIONS.keys())
        self.parts = {"valid": split.cases_valid, "test": split.cases_test}

    @cache  # noqa: B019
    def inputs(self, condition: str, turn: int) -> PolicyInputs:
        """What policies are given, with the sample of a generator trained on the same rows."""
        seed = derive(self.seed, turn)
        rows = noisy(self.train, CONDITIONS[condition], seed)
        rows = rows.unique([C.USER, C.ITEM], keep="first", maintain_order=True)

        @cache
        def sample(name: str) -> pl.DataFrame:
            fitted = find_generator(name)({}, seed=seed).fit(TrainingData(rows))
            return fitted.sample(rows[C.USER].n_unique(), seed=seed)

        return PolicyInputs(rows, sample, 2.0)

    def ndcg(self, part: str, model: str, condition: str, steps: Steps, turn: int) -> np.ndarray:
        """Of each case."""
        seed = derive(self.seed, turn)
        rows = Policy("p", steps, seed=seed).apply(self.inputs(condition, turn))
        fitted = find(model)({}, seed=seed).fit(TrainingData(rows))
        cases = self.parts[part]
        found = per_case(rank_cases(fitted, cases, K), cases, fitted, (K,))
        return found[f"ndcg@{K}"].to_numpy()


def main() -> None:
    given = _arguments()
    table: list[list[str]] = []
    chosen: list[list[str]] = []
    for one in given.sets:
        name, _, spec = one.partition("=")
        data = Data(name, spec or None, given.seed)
        for model in given.models:
            for condition in CONDITIONS:
                found = {}
                for arm, candidates in _arms().items():
                    steps = candidates[0]
                    if len(candidates) > 1:
                        steps, told = _choose(data, model, condition, candidates)
                        chosen.append([f"{name}, {model}, {condition}, {arm}", *told])
                    turns = range(given.seeds)
                    each = [data.ndcg("test", model, condition, steps, turn) for turn in turns]
                    found[arm] = np.stack(each)
                row = [f"{value.mean():.4f}" for value in found.values()]
                row += [interval_of(found[ours] - found[other]) for ours, other in PAIRS]
                table.append([f"{name}, {model}, {condition}", *row])
                print(*table[-1], flush=True)
                _write(table, chosen, given)


def _choose(
    data: Data, model: str, condition: str, candidates: list[Steps]
) -> tuple[Steps, list[str]]:
    """The best on validation users, and what each reached."""
    values = [data.ndcg("valid", model, condition, steps, -1).mean() for steps in candidates]
    best = int(np.argmax(values))
    return candidates[best], [*(f"{value:.4f}" for value in values), f"{EPSILONS[best]:g}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets", nargs="+", help=f"NAME=LAYOUT:FOLDER, or one of {', '.join(default_sets.SHOPS)}"
    )
    parser.add_argument("--models", nargs="+", default=["item_knn", "ease", "multvae"])
    parser.add_argument("--seeds", type=int, default=3, help="draws for each figure")
    parser.add_argument("--seed", type=int, default=20260)
    return parser.parse_args()


def _write(table: list[list[str]], chosen: list[list[str]], given: Any) -> None:
    header = ["data, model, rows", *_arms(), *(f"{one} over {other}" for one, other in PAIRS)]
    epsilons = [f"ε {epsilon:g}" for epsilon in EPSILONS]
    parts = [
        f"NDCG@{K} of test users, {given.seeds} seeds, ranked over the full catalogue; as many "
        f"users are added as there are. Items of a {GENERATOR}. In brackets: 95 %, paired "
        "bootstrap over users, widened by the variation between seeds; bold: on one side of "
        "0.",
        tables.markdown(header, table),
        "NDCG@10 of validation users, one seed, and what was taken.",
        tables.markdown(["data, model, rows, policy", *epsilons, "taken"], chosen),
    ]
    command = tables.command_line("benchmarks.adversarial_policies")
    title = "Policies that add what a model is worst at"
    tables.write("adversarial-policies", title, parts, command, tables.own_versions())


if __name__ == "__main__":
    main()
