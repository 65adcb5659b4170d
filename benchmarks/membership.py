"""How much does a recommender's quality cost in membership, and what does training against the
attack cost in quality?

    python -m benchmarks.membership ml-100k=recbole:FOLDER

A fifth of the users takes no part in training: they are the non-members of the attack
(`augrec.audit.recommender_attack`) and the cases of NDCG@10, with the rest of the random split of
`benchmarks.default_sets` hidden. Arms: as it is; a fifth of the training users held out without an
adversary, which is what the adversary's reference costs alone; λ of the adversary
(`membership_weight`); and a quarter of the gradient steps, the cheapest way to remember less.
Every figure is a mean over seeds; an interval is the attack's bootstrap, averaged over seeds. What
has been measured is kept below `var/benchmarks`: an interrupted run continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.recommender_attack import attack_recommender
from augrec.core.files import read_json, write_json
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import find
from benchmarks import cache, default_sets, tables

K = 10
NOTHING = 1e-9
"""A weight at which the reference is held out and the adversary does not count."""
WEIGHTS = (0.1, 0.3, 1.0)


def main() -> None:
    given = _arguments()
    name, _, spec = given.data.partition("=")
    split = default_sets.cells(name, spec or None, "random", given.seed)
    train = split.train.select(C.USER, C.ITEM, C.TIMESTAMP)
    users = train[C.USER].unique().sort()
    outside = users.filter(pl.Series(rng(given.seed, "outside").random(len(users)) < 0.2))
    is_outside = pl.col(C.USER).is_in(outside.implode())
    members, others = train.filter(~is_outside), train.filter(is_outside)
    cases = split.cases_test.filter(is_outside)
    arms: dict[str, dict[str, Any]] = {
        "as it is": {"steps": given.steps},
        "held out alone": {"steps": given.steps, "membership_weight": NOTHING},
        **{f"λ {one:g}": {"steps": given.steps, "membership_weight": one} for one in WEIGHTS},
        "a quarter of the steps": {"steps": given.steps // 4},
    }
    table = []
    where = cache.folder("membership", __file__, data=name, seed=given.seed)
    for model in given.models:
        for arm, keys in arms.items():
            row = _measure(model, keys, members, others, cases, given, where)
            table.append([f"{model}, {arm}", *row])
            print(*table[-1], flush=True)
    facts = (
        f"{name}: {members[C.USER].n_unique():,} users to train on, {len(outside):,} others for "
        f"the attack, {len(cases):,} of them cases; {given.steps} gradient steps, {given.seeds} "
        "seeds. Control: the same attack on the order of popularity."
    )
    header = ["model", f"NDCG@{K}", "attack's AUC", "interval", "control"]
    tables.write(
        f"membership-{name}",
        "Quality against membership",
        [facts, tables.markdown(header, table)],
        tables.command_line("benchmarks.membership"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", help=f"NAME=LAYOUT:FOLDER, or one of the shops {', '.join(default_sets.SHOPS)}"
    )
    parser.add_argument("--models", nargs="+", default=["multvae", "mmoe"])
    parser.add_argument("--seeds", type=int, default=3, help="trained models for each figure")
    parser.add_argument("--steps", type=int, default=400, help="gradient steps")
    parser.add_argument("--seed", type=int, default=20260)
    return parser.parse_args()


def _measure(
    model: str,
    keys: dict[str, Any],
    members: pl.DataFrame,
    others: pl.DataFrame,
    cases: pl.DataFrame,
    given: argparse.Namespace,
    where: Path,
) -> list[str]:
    found = []
    for turn in range(given.seeds):
        words = "-".join(f"{key}={value:g}" for key, value in keys.items())
        path = where / f"{model}-{words}-{turn}.json"
        if not path.exists():
            fitted = find(model)(keys, seed=derive(given.seed, turn)).fit(TrainingData(members))
            measured = per_case(rank_cases(fitted, cases, K), cases, fitted, (K,))
            attack = attack_recommender(fitted, members, others, AuditConfig(), given.seed)
            assert attack is not None, "there are too few users"
            one = {"ndcg": float(measured[f"ndcg@{K}"].to_numpy().mean())}
            write_json(path, one | attack.as_json())
        found.append(read_json(path))
    ndcg, auc, low, high, control = (
        np.mean([one[name] for one in found]) for name in ("ndcg", "auc", "low", "high", "control")
    )
    return [f"{ndcg:.4f}", f"{auc:.3f}", f"[{low:.3f}, {high:.3f}]", f"{control:.3f}"]


if __name__ == "__main__":
    main()
