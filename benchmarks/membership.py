"""How much does a recommender's quality cost in membership, and does adversarial training help?

    python -m benchmarks.membership --layout movielens_100k --folder FOLDER

A fifth of the users takes no part in training: they are the non-members of the attack
(`augrec.audit.recommender_attack`) and, with a random fifth of their rows hidden, the cases of
NDCG@10. Every figure is a mean over seeds; an interval is the attack's bootstrap, averaged over
seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.recommender_attack import attack_recommender
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import tables
from benchmarks.data import random_split
from benchmarks.environments import WHERE

K = 10
ARMS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "ε 0.1": {"adversarial_epsilon": 0.1},
    "ε 0.3": {"adversarial_epsilon": 0.3},
    "placebo 0.1": {"adversarial_epsilon": 0.1, "adversarial_method": "random"},
    "placebo 0.3": {"adversarial_epsilon": 0.3, "adversarial_method": "random"},
    "virtual 0.1": {"adversarial_epsilon": 0.1, "adversarial_method": "virtual"},
    "virtual 0.3": {"adversarial_epsilon": 0.3, "adversarial_method": "virtual"},
}


def main() -> None:
    given = _arguments()
    split = given.where / f"membership-{given.folder.name}"
    random_split(given.layout, given.folder, split, given.seed)
    train, cases = (pl.read_parquet(split / f"{name}.parquet") for name in ("train", "cases"))
    users = train[C.USER].unique().sort()
    outside = users.filter(pl.Series(rng(given.seed, "outside").random(len(users)) < 0.2))
    is_outside = pl.col(C.USER).is_in(outside.implode())
    members, others = train.filter(~is_outside), train.filter(is_outside)
    cases = cases.filter(is_outside)
    table = []
    for model in given.models:
        for arm, keys in ARMS.items():
            row = _measure(model, keys, members, others, cases, given)
            table.append([f"{model}, {arm}", *row])
            print(*table[-1], flush=True)
    facts = (
        f"{members[C.USER].n_unique():,} training users and {len(outside):,} others, who are also "
        f"the {len(cases):,} cases; {given.steps} gradient steps, {given.seeds} seeds; λ 1, after "
        "half of the steps."
    )
    header = ["model", f"NDCG@{K}", "attack's AUC", "interval", "control"]
    tables.write(
        f"membership-{given.folder.name}",
        "Quality against membership",
        [facts, tables.markdown(header, table)],
        tables.command_line("benchmarks.membership"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", required=True, help="of the raw data, e.g. movielens_100k")
    parser.add_argument("--folder", type=Path, required=True, help="the folder of the raw data")
    parser.add_argument("--models", nargs="+", default=["multvae", "mmoe"])
    parser.add_argument("--seeds", type=int, default=3, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=400, help="gradient steps")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the split")
    return parser.parse_args()


def _measure(
    model: str,
    keys: dict[str, Any],
    members: pl.DataFrame,
    others: pl.DataFrame,
    cases: pl.DataFrame,
    given: argparse.Namespace,
) -> list[str]:
    ndcg, attacks = [], []
    for turn in range(given.seeds):
        fitted = find(model)({"steps": given.steps} | keys, seed=derive(given.seed, turn))
        fitted.fit(TrainingData(members))
        measured = per_case(rank_cases(fitted, cases, K), cases, fitted, (K,))
        ndcg.append(measured[f"ndcg@{K}"].to_numpy().mean())
        attacks.append(attack_recommender(fitted, members, others, AuditConfig(), given.seed))
    found = [one for one in attacks if one is not None]
    auc, low, high, control = (
        np.mean([getattr(one, name) for one in found]) for name in ("auc", "low", "high", "control")
    )
    return [f"{np.mean(ndcg):.4f}", f"{auc:.3f}", f"[{low:.3f}, {high:.3f}]", f"{control:.3f}"]


if __name__ == "__main__":
    main()
