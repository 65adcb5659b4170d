"""Four planted truths on simulated shops: what must be caught is planted, and it is counted how
often it is.

    python -m benchmarks.planted [--seeds 100] [--recommenders ease item_knn multvae]

* A generator that **memorises** gives copies of its training users, as they are or a little
    changed: the audit must block them.
* One that saw **test users** gives copies of those: the audit must refuse them.
* One that **collapses** learns a single profile: training must be refused.
* **Noise** must not pass the gate, though its audit is passed by decree: users with items drawn by
    popularity, which the placebo
  has too, and users with items drawn at random, mixed into the training set; at most the nominal
  rate of (1 - confidence) / 2 of the runs may accept anything, whichever recommender.

Beside each stands a sound counterpart that must not be caught: people of the same kind, a training
that spreads, and for noise the planted gain of tests/unit/test_gate_chance.py.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from scipy import stats
from torch import nn
from torch.nn import functional as F

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.config import parse
from augrec.core.errors import RefusedError
from augrec.core.seeds import derive, rng
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.histories import Histories, ItemIndex
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import TEST, VALID, Split, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.arm import Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.item_statistics import ItemStatistics
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.evaluation.user_means import groups_of_users
from augrec.generators._profile.decode import gumbel_top_k
from augrec.generators._training.loop import train
from augrec.generators._training.monitor import N_SAMPLED_USERS, sample_statistics
from augrec.generators._training.train_state import TrainState
from augrec.recommenders.base import find
from benchmarks import tables

POSITIVE = {"view": None, "cart": None, "purchase": None}
SMALL: dict[str, dict[str, Any]] = {
    "multvae": {"hidden": 32, "latent": 16, "steps": 60, "eval_every": 30, "batch_size": 64},
}
"""Configs of the recommenders that need not be as large as params.yaml has them."""
KINDS = {
    "none": "real",
    "bootstrap": "placebo",
    "popularity_random": "placebo",
    "popular_noise": "generated",
    "uniform_noise": "generated",
}
REPETITIONS = 2
N_USERS, N_ITEMS = 1000, 150
CUTOFF = 10


def main() -> None:
    given = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    parts = [
        "## Samples: what the audit says",
        _samples(given.seed),
        "## A training that collapses",
        _collapse(given.seed),
        "## Noise before the gate",
        _noise(given),
    ]
    tables.write(
        "planted",
        "Planted truths",
        parts,
        tables.command_line("benchmarks.planted"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100, help="shops, each with noise of its own")
    parser.add_argument("--recommenders", nargs="+", default=["ease", "item_knn", "multvae"])
    parser.add_argument("--seed", type=int, default=20260)
    return parser.parse_args()


def shop(config: ShopConfig, seed: int) -> tuple[pl.DataFrame, Split, pl.DataFrame]:
    """A simulated shop: its clean rows, its split, its users."""
    found = simulate(config, seed)
    rows = clean(found.interactions, POSITIVE)
    return rows, split(rows, SplitConfig(), seed), found.users


# --- samples
# ------------------------------------------------------------


def _samples(seed: int) -> str:
    """Half of the training users are the training set; the other half are new people of the same
    kind."""
    rows, parts, _ = shop(ShopConfig(n_users=3000, n_items=300, n_interactions=70_000), seed)
    users = parts.train[C.USER].unique().sort()
    chosen = pl.Series(rng(seed, "halves").random(len(users)) < 0.5)
    members = parts.train.join(
        users.filter(chosen).to_frame(), on=C.USER, how="semi", maintain_order="left"
    )
    others = parts.train.join(
        users.filter(~chosen).to_frame(), on=C.USER, how="semi", maintain_order="left"
    )
    seen = parts.held_out.filter(role=TEST).select(C.USER)
    tested = rows.join(seen, on=C.USER, how="semi", maintain_order="left")
    inputs = AuditInputs(members, rows, parts.held_out, parts.valid_from, parts.test_from)
    known = members[C.ITEM].unique()
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    config = parse(AuditConfig, params["audit"], "audit")
    planted = {
        "new people of the same kind": (others, True),
        "training users, copied": (members, False),
        "training users, 3 of 10 items replaced": (_changed(members, 0.3, seed), False),
        "test users, copied": (tested, False),
        "test users, 3 of 10 items replaced": (_changed(tested, 0.3, seed), False),
    }
    lines = []
    for name, (people, sound) in planted.items():
        sample = _as_sample(people.filter(pl.col(C.ITEM).is_in(known.implode())), members, seed)
        verdict, _ = audit_sample(sample, inputs, config, generator="planted", seed=seed)
        broken = ", ".join(verdict["failed_limits"]) or "–"
        caught = "passed" if verdict["passed"] else "blocked"
        lines.append([name, caught, "passed" if sound else "blocked", broken])
    return tables.markdown(["the sample", "the audit", "as it must be", "limits broken"], lines)


def _changed(rows: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Rows with a share of the items replaced by others, drawn by popularity; a user meets each
    item once."""
    draw = rng(seed, "changed")
    other = rows[C.ITEM].gather(draw.integers(0, len(rows), len(rows)))
    hit = pl.Series(draw.random(len(rows)) < share)
    changed = rows.with_columns(pl.when(hit).then(other).otherwise(pl.col(C.ITEM)).alias(C.ITEM))
    return changed.unique([C.USER, C.ITEM], keep="first", maintain_order=True)


def _as_sample(rows: pl.DataFrame, members: pl.DataFrame, seed: int) -> pl.DataFrame:
    """As a generator would give them: with ids and times of its own."""
    times = members[C.TIMESTAMP].gather(rng(seed, "times").integers(0, len(members), len(rows)))
    named = pl.lit("synthetic:planted:").add(pl.col(C.USER))
    return rows.with_columns(
        named.alias(C.USER), pl.lit("planted").alias(C.ORIGIN), times.alias(C.TIMESTAMP)
    ).sort(C.USER, C.TIMESTAMP)


# --- collapse
# ------------------------------------------------------------


def _collapse(seed: int) -> str:
    _, parts, _ = shop(ShopConfig(n_users=800, n_items=200, n_interactions=16_000), seed)
    lines = []
    for name, collapses in (
        ("learns what is popular, each profile its own", False),
        ("learns a single profile", True),
    ):
        try:
            _learn(parts.train, collapses, seed)
            came = "trained"
        except RefusedError as error:
            came = "refused: " + error.what.partition("; ")[0]
        lines.append([name, came, "refused" if collapses else "trained"])
    return tables.markdown(["the generator", "training", "as it must be"], lines)


def _learn(rows: pl.DataFrame, collapses: bool, seed: int) -> TrainState:
    """Train a network from noise to items: towards the items' popularity, or towards ten items
    alone."""
    items = ItemIndex(rows[C.ITEM])
    histories = Histories.from_interactions(rows, items)
    popularity = np.bincount(histories.items, minlength=len(items)).astype(np.float64)
    goal = np.where(popularity >= np.sort(popularity)[-10], 1.0, 0.0) if collapses else popularity
    target = torch.from_numpy(goal / goal.sum()).float()
    lengths = np.minimum(rng(seed, "lengths").choice(histories.lengths, N_SAMPLED_USERS), 10)

    def start(lr_factor: float) -> TrainState:
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, len(items)))
        noise = torch.Generator().manual_seed(seed)
        rate = (0.5 if collapses else 0.02) * lr_factor
        optimizer = torch.optim.Adam(network.parameters(), rate)

        def step() -> dict[str, torch.Tensor]:
            logits = network(torch.randn(64, 16, generator=noise))
            loss = -(F.log_softmax(logits, dim=1) * target).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return {"loss": loss}

        def statistics() -> dict[str, float]:
            random = torch.Generator().manual_seed(1)
            with torch.no_grad():
                logits = network(torch.randn(N_SAMPLED_USERS, 16, generator=random))
            drawn = gumbel_top_k(logits, lengths, random)
            return sample_statistics(drawn, lengths, len(items), popularity)

        modules, optimizers = {"network": network}, {"adam": optimizer}
        return TrainState(modules, optimizers, step, statistics, seed, {"noise": noise})

    return train(start, name="planted", steps=400, log_every=20, data=TrainingData(rows))


# --- noise
# ------------------------------------------------------------


def _noise(given: argparse.Namespace) -> str:
    gate = GateConfig()
    outcomes = []
    for number in range(given.seeds):
        outcomes.append(_decide(given.recommenders, gate, derive(given.seed, "noise", number)))
        done = sum(any(choice["accepted"] for choice in one["recommenders"]) for one in outcomes)
        print(f"{number + 1} of {given.seeds} shops, {done} accepted noise", flush=True)
    nominal = (1 - gate.confidence) / 2
    beaten = Counter(
        (row["recommender"], row["comparator"])
        for one in outcomes
        for row in one["comparisons"]
        if row["question"] == "beats" and row["passed"]
    )
    others = [policy for policy, kind in KINDS.items() if kind != "generated"]
    lines = []
    for place, name in enumerate(given.recommenders):
        choices = [one["recommenders"][place] for one in outcomes]
        visible = [
            choice["power"]["relative"]
            for choice in choices
            if choice["power"] and choice["power"]["relative"]
        ]
        lost = sum(any(row["verdict"] == "lost" for row in choice["groups"]) for choice in choices)
        lines.append(
            [
                name,
                *(str(beaten[name, policy]) for policy in others),
                str(lost),
                f"{100 * float(np.median(visible)):.0f} %",
                str(sum(choice["accepted"] for choice in choices)),
            ]
        )
    accepted = sum(any(choice["accepted"] for choice in one["recommenders"]) for one in outcomes)
    high = (
        float(stats.beta.ppf(0.95, accepted + 1, len(outcomes) - accepted))
        if accepted < len(outcomes)
        else 1.0
    )
    return "\n\n".join(
        [
            f"{len(outcomes)} simulated shops of {N_USERS} users and {N_ITEMS} items; every arm "
            "whose policy or recommender draws is "
            f"trained {REPETITIONS} times. Accepted by any recommender: **{accepted} of "
            f"{len(outcomes)}** (below {high:.1%} with "
            f"95 % confidence; nominal rate {nominal:.1%}). Of the two noises the better one on "
            "validation users stands for "
            "election. Columns: in how many shops it beat each policy on the target slice, a group "
            "was shown to lose, the median "
            "gain that could have been seen, and how often it was accepted.",
            tables.markdown(
                [
                    "recommender",
                    *(f"beat {name}" for name in others),
                    "group lost",
                    "visible gain",
                    "accepted",
                ],
                lines,
            ),
        ]
    )


def _decide(recommenders: Sequence[str], gate: GateConfig, seed: int) -> dict[str, Any]:
    """The decision on one shop."""
    _, parts, users = shop(
        ShopConfig(n_users=N_USERS, n_items=N_ITEMS, n_interactions=20 * N_USERS), seed
    )
    cases = {
        name: table.join(users.unique(C.USER), on=C.USER, how="left", maintain_order="left")
        for name, table in ((VALID, parts.cases_valid), (TEST, parts.cases_test))
    }
    measured: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for policy in KINDS:
        drawn = [
            _rows(policy, parts.train, derive(seed, policy, number))
            for number in range(REPETITIONS)
        ]
        if KINDS[policy] != "placebo":  # the sample of a generator is drawn once
            drawn = drawn[:1]
        for name in recommenders:
            several = drawn if len(drawn) > 1 or not find(name).draws else drawn * REPETITIONS
            measured[name, policy] = [
                measure(name, rows, cases, parts.train, derive(seed, name, number))
                for number, rows in enumerate(several)
            ]
    arms = [
        Arm(name, policy, KINDS[policy], (policy,) if KINDS[policy] == "generated" else ())
        for name in recommenders
        for policy in KINDS
    ]
    passed = {
        policy: {"passed": True, "failed_limits": []}
        for policy, kind in KINDS.items()
        if kind == "generated"
    }
    return decide(arms, measured, passed, gate, seed, groups_of_users(cases[TEST]))


def _rows(policy: str, real: pl.DataFrame, seed: int) -> pl.DataFrame:
    """A policy's training set: as many added users as there are real ones."""
    if policy == "none":
        return real
    operation = policy if KINDS[policy] == "placebo" else "popularity_random"
    ingredients = PolicyInputs(real, lambda name: real.clear(), max_ratio=2.0)
    made = Policy(policy, [{operation: {"ratio": 1.0}}], seed=seed).apply(ingredients)
    if policy != "uniform_noise":
        return made
    items = real[C.ITEM].unique().sort()
    shuffled = items.sample(fraction=1, shuffle=True, seed=seed % 2**32)
    swapped = pl.col(C.ITEM).replace_strict(
        items, shuffled
    )  # each profile keeps its length and loses all sense
    is_real = pl.col(C.ORIGIN) == "real"
    return made.with_columns(pl.when(is_real).then(pl.col(C.ITEM)).otherwise(swapped).alias(C.ITEM))


def measure(
    name: str,
    rows: pl.DataFrame,
    cases: Mapping[str, pl.DataFrame],
    train: pl.DataFrame,
    seed: int,
    values: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """The metrics of a recommender trained on `rows`, with some values of its config, for every
    case."""
    config = {**SMALL.get(name, {}), **(values or {})}
    model = find(name)(config, seed=seed).fit(TrainingData(rows, cases=cases[VALID]))
    statistics = ItemStatistics.of(model.items, train)
    return pl.concat(
        per_case(rank_cases(model, table, CUTOFF), table, model, (CUTOFF,), statistics).select(
            pl.lit(split_name).alias("split"), pl.all()
        )
        for split_name, table in cases.items()
    )


if __name__ == "__main__":
    main()
