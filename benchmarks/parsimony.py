"""Does the rule of `augrec.evaluation.parsimony` choose the better arm more often than the largest
mean does?

    python -m benchmarks.parsimony [--seeds 60] [--within 0.25 1] [--recommenders ease item_knn]

On simulated shops every recommender is trained on the real data as it is, on a policy on real
data and on three placebos. A choice is made by validation users, as in a run, some hundreds of
them; the truth is what the same models reach for many other users, who take no part in the choice.
Two kinds of shop stand beside each other: as they come, where little is to be gained, and with a
planted gain, where one policy has the rows of as many further real users, so that a rule that
always stayed with the real data as it is would lose.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.simulate import ShopConfig
from augrec.data.split import TEST, VALID
from augrec.evaluation.arm import PLACEBO, REAL, Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.repetitions import mean_of, split_of
from augrec.evaluation.user_means import user_values
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.planted import REPETITIONS, measure, shop

STEPS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "truncation": [{"truncate": {"ratio": 1.0}}],
    "bootstrap": [{"bootstrap": {"ratio": 1.0}}],
    "popularity_random": [{"popularity_random": {"ratio": 1.0}}],
    "crossover": [{"crossover": {"ratio": 1.0}}],
}
PLANTED = "further_users"
METRIC = GateConfig().metric
N_TRAINING, N_FURTHER, N_VALIDATION = 500, 500, 250
GRIDS: dict[str, dict[str, list[Any]]] = {
    "ease": {"l2": [20.0, 50.0, 100.0, 200.0, 400.0]},
    "item_knn": {"shrinkage": [0.0, 5.0, 20.0, 50.0, 150.0]},
    "multvae": {"beta": [0.05, 0.2]},
}
"""Regularisations that each arm is tried with: more rows want less of it, and with a coarse grid an
arm would be better for no other reason."""


@dataclass(frozen=True)
class Outcome:
    """One choice.

    Attributes:
        recommender: its name; "among recommenders" for the run's winner.
        within: the gate's `simpler_within`.
        chosen, largest: the arms that the rule and the largest mean chose, (recommender, policy).
        truth: what every arm reaches for the users that take no part in the choice.
    """

    recommender: str
    within: float
    chosen: tuple[str, str]
    largest: tuple[str, str]
    truth: Mapping[tuple[str, str], float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=60, help="shops of each kind")
    parser.add_argument("--within", type=float, nargs="+", default=[GateConfig().simpler_within, 1])
    parser.add_argument("--recommenders", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--seed", type=int, default=20260)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    parts = []
    for title, planted in (("Shops as they come", False), ("Shops with a planted gain", True)):
        outcomes: list[Outcome] = []
        for number in range(given.seeds):
            outcomes += _shop(given, planted, derive(given.seed, title, number))
            print(f"{title}: {number + 1} of {given.seeds}", flush=True)
        parts += [f"## {title}", _table(given, outcomes)]
    parts.append(
        "*Within*: the gate's `simpler_within`, in standard errors. "
        f"Validation users: at most {N_VALIDATION}; NDCG@10. *Where they differ*: shops in which "
        "the rule and the largest mean chose different arms, and in how many of them the rule's "
        "was the better one in truth. *Behind the best*: how far the chosen arm was behind the arm "
        "that is best in truth, mean over shops, in percent. *Placebos*: in how many shops one was "
        "chosen, and how many of them were no better than the real data as it is."
    )
    tables.write(
        "parsimony",
        "The simplest arm that is about as good, and the largest mean",
        parts,
        tables.command_line("benchmarks.parsimony"),
        tables.own_versions(),
    )


AMONG = "among recommenders"


def _shop(given: argparse.Namespace, planted: bool, seed: int) -> list[Outcome]:
    """The choices on one shop."""
    config = ShopConfig(n_users=4000, n_items=150, n_interactions=80_000)
    _, parts, _ = shop(config, seed)
    members = _some_users(parts.train, N_TRAINING + N_FURTHER, seed)
    real = _some_users(members, N_TRAINING, seed)
    cases = {VALID: _some_users(parts.cases_valid, N_VALIDATION, seed), TEST: parts.cases_test}
    inputs = PolicyInputs(real, lambda name: real.clear(), max_ratio=2.0)
    measured: dict[tuple[str, str], list[pl.DataFrame]] = {}
    arms = []
    for policy in [*STEPS, PLANTED] if planted else STEPS:
        made = Policy(policy, STEPS.get(policy, []), seed=seed)
        for name in given.recommenders:
            arms.append(Arm(name, policy, made.kind, cost=find(name).cost))
            drawn = made.kind == PLACEBO or find(name).draws
            rows = [
                members
                if policy == PLANTED
                else Policy(policy, STEPS[policy], seed=derive(seed, number)).apply(inputs)
                for number in range(REPETITIONS if drawn else 1)
            ]
            measured[name, policy] = _trained(name, rows, cases, members, seed)
    truth = {pair: _mean(split_of(several, TEST)) for pair, several in measured.items()}
    seen = {pair: _mean(split_of(several, VALID)) for pair, several in measured.items()}
    found = []
    for within in given.within:
        gate = GateConfig(bootstrap_samples=400, simpler_within=within)
        decision = decide(arms, measured, {}, gate, seed)
        for row in decision["recommenders"]:
            name = row["recommender"]
            own = {pair: value for pair, value in truth.items() if pair[0] == name}
            largest = max(own, key=seen.__getitem__)
            found.append(Outcome(name, within, (name, row["chosen"]), largest, own))
        winner = decision["winner"]["recommender"], decision["winner"]["policy"]
        largest = max(seen, key=seen.__getitem__)
        found.append(Outcome(AMONG, within, winner, largest, truth))
    return found


def _trained(
    name: str,
    drawn: Sequence[pl.DataFrame],
    cases: Mapping[str, pl.DataFrame],
    members: pl.DataFrame,
    seed: int,
) -> list[pl.DataFrame]:
    """What each training of an arm reaches, with the regularisation that validation users prefer in
    the first."""
    [(key, choices)] = GRIDS[name].items()
    values = [{key: value} for value in choices]

    def train(number: int, value: Mapping[str, Any]) -> pl.DataFrame:
        return measure(name, drawn[number], cases, members, derive(seed, name, number), value)

    first = [train(0, value) for value in values]
    reached = [_mean(split_of([one], VALID)) for one in first]
    best = reached.index(max(reached))
    further = [train(number, values[best]) for number in range(1, len(drawn))]
    return [first[best], *further]


def _some_users(rows: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """The rows of n users."""
    users = rows[C.USER].unique().sort()
    order = rng(seed, "users").permutation(len(users))[:n]
    chosen = users.gather(np.sort(order)).to_frame()
    return rows.join(chosen, on=C.USER, how="semi", maintain_order="left")


def _mean(several: Sequence[pl.DataFrame]) -> float:
    return float(user_values(mean_of(several), METRIC)["value"].to_numpy().mean())


def _table(given: argparse.Namespace, outcomes: Sequence[Outcome]) -> str:
    lines = []
    for name, within in product([*given.recommenders, AMONG], given.within):
        own = [one for one in outcomes if (one.recommender, one.within) == (name, within)]
        differ = [one for one in own if one.chosen != one.largest]
        better = sum(one.truth[one.chosen] > one.truth[one.largest] for one in differ)
        lines.append(
            [
                name,
                f"{within:g}",
                f"{better} of {len(differ)}",
                *(f"{_behind(own, which):.2f} %" for which in ("chosen", "largest")),
                *(_placebos(own, which) for which in ("chosen", "largest")),
            ]
        )
    header = [
        "choice",
        "within",
        "where they differ, the rule's is better",
        "behind the best: rule",
        "largest mean",
        "placebos: rule",
        "largest mean",
    ]
    return tables.markdown(header, lines)


def _behind(outcomes: Sequence[Outcome], which: str) -> float:
    """The mean distance from the arm that is best in truth, in percent of it."""
    best = [max(one.truth.values()) for one in outcomes]
    got = [one.truth[getattr(one, which)] for one in outcomes]
    return float(np.mean([100 * (1 - ours / top) for ours, top in zip(got, best, strict=True)]))


def _placebos(outcomes: Sequence[Outcome], which: str) -> str:
    picked = [(one, getattr(one, which)) for one in outcomes]
    placebos = [(one, pair) for one, pair in picked if _kind(pair[1]) == PLACEBO]
    idle = sum(one.truth[pair] <= one.truth[pair[0], "none"] for one, pair in placebos)
    return f"{len(placebos)}, {idle} no better"


def _kind(policy: str) -> str:
    return REAL if policy == PLANTED else Policy(policy, STEPS[policy], seed=0).kind


if __name__ == "__main__":
    main()
