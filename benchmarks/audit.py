"""How often the audit blocks what it must and lets pass what it may, over many simulated shops.

    python -m benchmarks.audit            # 24 shops of 400 users, the project's limits
    python -m benchmarks.audit --seeds 100 --users 800

Samples of each shop: of a generator that copies no one; training users republished with 10, 20 or
30 % of their items changed; validation users, test users, test users in the test period and all
users republished; and the generator's sample with every tenth training user added. A blocked sample
of the generator alone is a false alarm; all others should be blocked.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.seeds import rng
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import ROLE, TEST, VALID, Split, split
from augrec.data.training_data import TrainingData
from augrec.generators.base import find
from benchmarks import project, tables

CONFIG = project.config(AuditConfig, "audit")


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    spent = []
    for seed in range(given.seeds):
        interactions, parts = _shop(given.users, seed)
        inputs = AuditInputs(
            parts.train,
            interactions,
            parts.held_out,
            parts.valid_from,
            parts.test_from,
            cases=parts.cases_valid,
        )
        for name, sample in _samples(interactions, parts, given.generators, seed):
            began = time.process_time()
            found[name].append(audit_sample(sample, inputs, CONFIG, generator=name, seed=seed)[0])
            spent.append(time.process_time() - began)
        print(f"shop {seed + 1} of {given.seeds}", flush=True)
    rows = [_row(name, verdicts) for name, verdicts in found.items()]
    header = [
        "sample",
        "blocked",
        "attack area",
        "singled out",
        "held-out singled out",
        "held-out nearer",
        "undecided limits",
        "by which limits",
    ]
    note = (
        f"{given.seeds} shops of {given.users} users, "
        f"{np.mean([v['privacy']['n_members'] for v in found[next(iter(found))]]):.0f} of them "
        f"trained on; means over shops. One audit took {np.mean(spent):.2f} s of processor time."
    )
    tables.write(
        "audit",
        "What the audit blocks",
        [tables.markdown(header, rows), note],
        tables.command_line("benchmarks.audit"),
        tables.own_versions(),
    )


def _shop(n_users: int, seed: int) -> tuple[pl.DataFrame, Split]:
    made = simulate(
        ShopConfig(n_users=n_users, n_items=n_users // 2, n_interactions=30 * n_users), seed=seed
    )
    prepare = project.config(PrepareConfig, "prepare")
    interactions = clean(made.interactions, prepare.positive, min_item_interactions=1)
    return interactions, split(interactions, prepare.split, seed=seed)


def _samples(
    interactions: pl.DataFrame, parts: Split, generators: list[str], seed: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Names and samples; each has as many users as there are training users, or those it
    republishes."""
    train = parts.train
    users, known = train[C.USER].unique().sort(), train.select(C.ITEM).unique()
    interactions = interactions.join(known, on=C.ITEM, how="semi", maintain_order="left")
    for name in generators:
        generator = find(name)(project.overrides("generators", name), seed=seed).fit(
            TrainingData(train)
        )
        clean_sample = generator.sample(len(users), seed=seed)
        yield f"no copies: {name}", clean_sample
        tenth = train.filter(pl.col(C.USER).is_in(users.gather_every(10).implode()))
        yield (
            f"{name}, and every tenth training user, 10 % changed",
            pl.concat([clean_sample, republished(tenth, known, 0.1, seed)]),
        )
    for changed in (0.1, 0.2, 0.3):
        yield (
            f"training users, {100 * changed:.0f} % changed",
            republished(train, known, changed, seed),
        )
    for role, words in ((VALID, "validation users"), (TEST, "test users")):
        rows = interactions.join(
            parts.held_out.filter(pl.col(ROLE) == role),
            on=C.USER,
            how="semi",
            maintain_order="left",
        )
        yield f"{words}, 20 % changed", republished(rows, known, 0.2, seed)
    later = rows.filter(pl.col(C.TIMESTAMP) >= parts.test_from)
    yield "test users in the test period, 20 % changed", republished(later, known, 0.2, seed)
    yield "all users, 20 % changed", republished(interactions, known, 0.2, seed)


def republished(rows: pl.DataFrame, known: pl.DataFrame, changed: float, seed: int) -> pl.DataFrame:
    """The users of `rows` under new names, a share of each user's items replaced by others of
    `known`."""
    random, items, parts = rng(seed, "changed"), known[C.ITEM].sort().to_numpy().astype(str), []
    for number, user in enumerate(rows.partition_by(C.USER, maintain_order=True)):
        own = user[C.ITEM].to_numpy().astype(object)
        places = random.permutation(len(own))[: round(changed * len(own))]
        others = np.setdiff1d(items, own.astype(str))
        places = places[: len(others)]
        own[places] = random.choice(others, len(places), replace=False)
        parts.append(
            user.with_columns(
                pl.Series(C.ITEM, own.tolist(), dtype=pl.String),
                pl.lit("planted").alias(C.ORIGIN),
                pl.lit(f"synthetic:planted:{number:08}").alias(C.USER),
            )
        )
    return pl.concat(parts)


def _row(name: str, verdicts: list[dict[str, Any]]) -> list[str]:
    failed: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        for limit in verdict["failed_limits"]:
            failed[limit] += 1
    measures = [
        np.mean([verdict[part][measure] for verdict in verdicts])
        for part, measure in (
            ("privacy", "attack_auc"),
            ("privacy", "singled_out_share"),
            ("leak", "leak_singled_out_share"),
            ("leak", "leak_auc"),
        )
    ]
    return [
        name,
        f"{sum(not verdict['passed'] for verdict in verdicts)} of {len(verdicts)}",
        *(f"{value:.3f}" for value in measures),
        f"{np.mean([len(verdict['undecided_limits']) for verdict in verdicts]):.1f}",
        ", ".join(f"{limit} {n}" for limit, n in sorted(failed.items(), key=lambda pair: -pair[1])),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=24, help="number of shops")
    parser.add_argument("--users", type=int, default=400, help="users of each")
    parser.add_argument(
        "--generators", nargs="+", default=["profile_gan"], help="those that copy no one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
