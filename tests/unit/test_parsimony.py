"""Validation users choose the simplest arm that is about as good as the best, and no simpler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.component import available
from augrec.core.seeds import derive
from augrec.data.clean import clean
from augrec.data.config import SplitConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import TEST, VALID, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.arm import Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.parsimony import COSTS
from augrec.evaluation.user_means import user_values
from augrec.recommenders.base import find
from augrec.reporting.decision_words import rule, with_sentences

KINDS = {
    "none": "real",
    "truncation": "real",
    "bootstrap": "placebo",
    "crossover": "placebo",
}
COST = {"popularity": "counting", "ease": "solving", "multvae": "gradient_steps"}
GATE = GateConfig(bootstrap_samples=400, simpler_within=1.0)
N = 100
TASTE = np.random.default_rng(0).normal(0.3, 0.1, N)
SPREAD = np.random.default_rng(1).normal(0, 1, N)
SPREAD = (SPREAD - SPREAD.mean()) / SPREAD.std(ddof=1)


def ahead(errors: float, scatter: float = 0.1) -> np.ndarray:
    """Values whose lead over `TASTE` is this number of its standard errors."""
    return TASTE + scatter * SPREAD + errors * scatter / np.sqrt(N)


def table(values: np.ndarray) -> pl.DataFrame:
    """One case a user, the same values on validation and on test users."""
    return pl.DataFrame(
        {
            "split": [VALID] * len(values) + [TEST] * len(values),
            "user_id": [f"{split}{n:04}" for split in (VALID, TEST) for n in range(len(values))],
            "slice": "1-5",
            "ndcg@10": np.tile(values, 2),
        }
    )


def judge(
    arms: Mapping[tuple[str, str], np.ndarray | Sequence[np.ndarray]], gate: GateConfig = GATE
) -> dict[str, Any]:
    measured = {
        pair: [table(one) for one in np.atleast_2d(np.asarray(values))]
        for pair, values in arms.items()
    }
    named = [Arm(r, p, KINDS[p], cost=COST[r]) for r, p in arms]
    return with_sentences(decide(named, measured, {}, gate, 1))


def winner(arms: Mapping[tuple[str, str], Any], **options: Any) -> tuple[str, str]:
    found = judge(arms, **options)["winner"]
    return found["recommender"], found["policy"]


def policy(**values: Any) -> str:
    return winner({("ease", name): found for name, found in values.items()})[1]


@pytest.mark.parametrize("within", [0.25, 1.0])
def test_a_lead_within_some_standard_errors_leaves_the_real_data_as_they_are(within: float) -> None:
    gate = GateConfig(bootstrap_samples=400, simpler_within=within)
    arms = {("ease", "none"): TASTE, ("ease", "truncation"): ahead(0.9 * within)}
    assert winner(arms, gate=gate)[1] == "none"
    arms["ease", "truncation"] = ahead(1.1 * within)
    assert winner(arms, gate=gate)[1] == "truncation"


def test_the_order_of_the_policies_in_a_run_has_no_part_in_it() -> None:
    assert policy(bootstrap=ahead(0.5), truncation=ahead(0.9), none=TASTE) == "none"


def test_a_placebo_is_chosen_only_where_it_beats_real_data_by_an_interval() -> None:
    assert policy(none=TASTE, bootstrap=ahead(1.5)) == "none"
    assert policy(none=TASTE, bootstrap=ahead(2.5)) == "bootstrap"
    told = judge({("ease", "none"): TASTE, ("ease", "bootstrap"): ahead(1.5)})
    assert told["recommenders"][0]["selection"]["reason"] == "placebo_not_better"
    assert "placebo bootstrap was ahead by 0.0150, but it does not beat" in told["sentences"][0]


def test_each_placebo_that_is_tried_needs_more_evidence() -> None:
    """2.15 standard errors are enough for one of one, and not for the better of two."""
    assert policy(none=TASTE, bootstrap=ahead(2.15)) == "bootstrap"
    assert policy(none=TASTE, bootstrap=ahead(2.15), crossover=TASTE) == "none"


def test_a_placebo_must_beat_every_policy_on_real_data() -> None:
    arms = {"none": TASTE, "truncation": ahead(2.0), "bootstrap": ahead(3.5)}
    arms["bootstrap"] = arms["bootstrap"] + 0.02 * np.roll(SPREAD, 1)
    found = judge({("ease", name): values for name, values in arms.items()})
    assert found["winner"]["policy"] == "bootstrap"
    close = arms | {"bootstrap": arms["truncation"] + ahead(1.2, 0.05) - TASTE}
    assert judge({("ease", n): v for n, v in close.items()})["winner"]["policy"] == "truncation"


def test_luck_in_training_widens_the_standard_error() -> None:
    lucky = [TASTE + 0.03, TASTE - 0.02]  # trainings far apart: a mean of +0.005 says nothing
    steady = [TASTE + 0.006, TASTE + 0.004]
    base = [TASTE, TASTE]
    assert winner({("multvae", "none"): base, ("multvae", "truncation"): lucky})[1] == "none"
    assert winner({("multvae", "none"): base, ("multvae", "truncation"): steady})[1] == "truncation"


def test_of_recommenders_about_as_good_the_cheaper_one_is_chosen() -> None:
    arms = {("multvae", "none"): ahead(0.9), ("ease", "none"): TASTE}
    found = judge(arms)
    assert found["winner"]["recommender"] == "ease"
    assert found["selection"]["reason"] == "cheaper"
    assert "the model that is cheaper to train is chosen" in found["sentences"][0]
    assert winner(arms | {("multvae", "none"): ahead(1.1)})[0] == "multvae"
    assert winner({("multvae", "none"): TASTE, ("ease", "none"): ahead(0.1)})[0] == "ease"


def test_low_power_is_no_reason_to_serve_popularity() -> None:
    """With two dozen users everything lies within one standard error of popularity."""
    few = slice(0, 24)
    arms = {("popularity", "none"): TASTE[few], ("ease", "none"): ahead(0.3)[few] + 0.01}
    assert winner(arms)[0] == "ease"
    assert winner(arms | {("ease", "none"): TASTE[few] - 0.001})[0] == "popularity"


def test_an_arm_that_is_better_by_two_standard_errors_is_rarely_given_up() -> None:
    """The opposite fault: one time in six, where an interval would give it up every second time."""
    random = np.random.default_rng(3)
    found = [policy(none=TASTE, truncation=TASTE + random.normal(0.02, 0.1, N)) for _ in range(200)]
    assert found.count("truncation") >= 0.75 * len(found)


def test_users_that_cannot_be_told_apart_decide_for_the_simplest() -> None:
    assert policy(none=TASTE[:1], truncation=TASTE[:1] + 0.1) == "none"


def test_the_docs_state_the_rule_as_the_report_does() -> None:
    page = (Path(__file__).parents[2] / "docs/concepts.md").read_text(encoding="utf-8")
    assert rule(GateConfig().simpler_within) in " ".join(page.split())


def test_every_recommender_says_what_its_training_takes() -> None:
    costs = {name: find(name).cost for name in available("augrec.recommenders")}
    assert set(costs.values()) <= set(COSTS)
    assert (costs["popularity"], costs["ease"], costs["multvae"]) == COSTS


FIXED: dict[str, dict[str, Any]] = {"ease": {"l2": 200.0}, "item_knn": {"shrinkage": 100.0}}
"""So much for every arm that more rows, of whatever kind, look better than they are."""


def shop(seed: int) -> dict[tuple[str, str], list[pl.DataFrame]]:
    """EASE and item-KNN on each policy of a small shop, measured on validation and test users."""
    config = ShopConfig(n_users=240, n_items=60, n_interactions=4_000)
    rows = clean(simulate(config, seed).interactions, dict.fromkeys(("view", "cart", "purchase")))
    parts = split(rows, SplitConfig(), seed)
    inputs = PolicyInputs(parts.train, lambda name: parts.train.clear(), max_ratio=2.0)
    steps: dict[str, list[dict[str, Any]]] = {
        "none": [],
        "truncation": [{"truncate": {"ratio": 1.0}}],
        "bootstrap": [{"bootstrap": {"ratio": 1.0}}],
        "crossover": [{"crossover": {"ratio": 1.0}}],
    }
    found: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for name, operations in steps.items():
        for number in range(1 if KINDS[name] == "real" else 2):
            made = Policy(name, operations, seed=derive(seed, name, number)).apply(inputs)
            for recommender in ("ease", "item_knn"):
                model = find(recommender)(FIXED[recommender]).fit(TrainingData(made))
                measured = [
                    evaluate(model, cases, [10]).select(pl.lit(place).alias("split"), pl.all())
                    for place, cases in ((VALID, parts.cases_valid), (TEST, parts.cases_test))
                ]
                found.setdefault((recommender, name), []).append(pl.concat(measured))
    return found


@pytest.fixture(scope="module")
def shops() -> list[dict[tuple[str, str], list[pl.DataFrame]]]:
    return [shop(seed) for seed in range(20)]


def test_no_simulated_shop_is_won_by_a_placebo_that_does_not_beat_real_data(
    shops: list[dict[tuple[str, str], list[pl.DataFrame]]],
) -> None:
    largest = 0
    for measured in shops:
        arms = [Arm(r, p, KINDS[p], cost="solving") for r, p in measured]
        found = decide(arms, measured, {}, GateConfig(bootstrap_samples=400), 1)["winner"]
        means = {
            pair: np.mean([_mean(one, VALID) for one in several])
            for pair, several in measured.items()
        }
        largest += KINDS[max(means, key=means.__getitem__)[1]] == "placebo"
        if found["kind"] == "placebo":
            pair = found["recommender"], found["policy"]
            gains = _values(measured, pair) - _values(measured, (found["recommender"], "none"))
            assert gains.mean() > 1.9 * gains.std(ddof=1) / np.sqrt(len(gains))
    assert largest >= 2  # the largest mean would have crowned placebos


def _mean(measured: pl.DataFrame, split_name: str) -> float:
    rows = user_values(measured.filter(split=split_name), "ndcg@10")["value"]
    return float(rows.to_numpy().mean())


def _values(
    measured: Mapping[tuple[str, str], Sequence[pl.DataFrame]], pair: tuple[str, str]
) -> np.ndarray:
    """Each validation user's mean over trainings."""
    tables = [user_values(one.filter(split=VALID), "ndcg@10") for one in measured[pair]]
    return np.mean([one["value"].to_numpy() for one in tables], axis=0)
