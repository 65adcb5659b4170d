"""Chance must not pass the gate, of users, of training or of many candidates; a planted gain
must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from augrec.core.errors import InputError
from augrec.evaluation.arm import Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.multiple import holm
from augrec.evaluation.power import detectable
from augrec.reporting.decision_words import with_sentences

KINDS = {"none": "real", "bootstrap": "placebo", "gan": "generated", "gan2": "generated"}
PASSED = {name: {"passed": True, "failed_limits": []} for name in ("gan", "gan2")}
GATE = GateConfig(bootstrap_samples=200, target_slice="all", non_inferiority_margin=0.5)

Tables = Mapping[tuple[str, str], Sequence[pl.DataFrame]]


def table(values: np.ndarray, valid: np.ndarray | None = None, **columns: Any) -> pl.DataFrame:
    """One case a user: `values` on test users, `valid` on as many validation users."""
    n = len(values)
    return pl.DataFrame(
        {
            "split": ["valid"] * n + ["test"] * n,
            "user_id": [f"valid{user:05}" for user in range(n)]
            + [f"test{user:05}" for user in range(n)],
            "slice": "1-5",
            "ndcg@10": np.concatenate([values if valid is None else valid, values]),
            **{name: np.tile(column, 2) for name, column in columns.items()},
        }
    )


def judge(tables: Tables, gate: GateConfig = GATE, seed: int = 1, **options: Any) -> dict[str, Any]:
    arms = [
        Arm(recommender, policy, KINDS[policy], (policy,) if KINDS[policy] == "generated" else ())
        for recommender, policy in tables
    ]
    return with_sentences(decide(arms, tables, PASSED, gate, seed, **options))


def accepted(decision: Mapping[str, Any]) -> bool:
    return any(choice["accepted"] for choice in decision["recommenders"])


def experiment(
    seed: int,
    *,
    recommenders: int = 1,
    repetitions: int = 2,
    luck: float = 0.02,
    gain: float = 0.0,
    placebo: float = -0.5,
) -> Tables:
    """Arms of equal worth but for `gain`; each training moves all its users by luck, and each user
    by themselves.

    The placebo is far worse unless told otherwise, so that one thing is to be beaten and the
    nominal rate can be reached.
    """
    random = np.random.default_rng(seed)
    tables: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for number in range(recommenders):
        taste = random.normal(0.3, 0.1, 60)
        for policy, plus in (("none", 0.0), ("bootstrap", placebo), ("gan", gain)):
            tables[f"r{number}", policy] = [
                table(taste + plus + random.normal(0, luck) + random.normal(0, 0.05, 60))
                for _ in range(repetitions)
            ]
    return tables


def rate(n: int, **options: Any) -> float:
    return float(
        np.mean([accepted(judge(experiment(seed, **options), seed=seed)) for seed in range(n)])
    )


def most(n: int, nominal: float = 0.025) -> float:
    """No more than this share passes by chance, but for one time in a thousand."""
    return float(stats.binom.ppf(0.999, n, nominal)) / n


def test_noise_passes_no_more_often_than_promised_whatever_luck_training_had() -> None:
    assert rate(250) <= most(250)


def test_noise_of_several_recommenders_passes_no_more_often_than_that_of_one() -> None:
    assert rate(80, recommenders=3, luck=0.0) <= most(80)


def test_trained_once_luck_in_training_passes_for_a_gain() -> None:
    """What repetitions are for: the same noise, held against users alone, passes far too often."""
    assert rate(60, repetitions=1) > 2 * most(60)


def test_a_planted_gain_passes_in_spite_of_luck_in_training() -> None:
    assert rate(40, repetitions=3, gain=0.15) > 0.9


def test_holm_finds_what_its_p_values_say() -> None:
    p = {"a": 0.001, "b": 0.013, "c": 0.02, "d": 0.04}
    divided = holm(list(p), lambda name, tests: p[name] <= 0.05 / tests)
    assert divided == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert holm(list(p), lambda name, tests: p[name] <= 0.01 / tests) == {
        "a": 4,
        "b": 3,
        "c": 3,
        "d": 3,
    }
    assert holm([], lambda name, tests: True) == {}


def test_a_candidate_among_others_needs_more_evidence_and_says_so() -> None:
    random = np.random.default_rng(0)
    taste = random.normal(0.3, 0.1, 100)
    better = table(taste + random.normal(0.0225, 0.1, 100))  # 2.25 standard errors
    alone = {
        ("a", "none"): [table(taste)],
        ("a", "bootstrap"): [table(taste)],
        ("a", "gan"): [better],
    }
    noise = table(taste + random.normal(0, 0.1, 100))
    others = {
        (name, policy): [noise if policy == "gan" else table(taste)]
        for name in ("b", "c", "d")
        for policy in ("none", "bootstrap", "gan")
    }
    [choice] = judge(alone)["recommenders"]
    crowded = judge(alone | others)
    rows = [row for row in crowded["comparisons"] if row["recommender"] == "a"]
    assert choice["accepted"] and not crowded["recommenders"][0]["accepted"]
    assert {row["tests"] for row in rows} == {4} and rows[0]["confidence"] == pytest.approx(
        1 - 0.05 / 4
    )


def test_where_validation_and_test_users_are_the_same_each_policy_tried_counts() -> None:
    taste = np.random.default_rng(0).normal(0.3, 0.1, 60)
    tables = {("a", policy): [table(taste + 0.1 * (policy == "gan"))] for policy in KINDS}
    same = {
        key: [one.with_columns(pl.col("user_id").str.slice(-5)) for one in several]
        for key, several in tables.items()
    }
    assert {row["tests"] for row in judge(tables)["comparisons"]} == {1}
    assert {row["tests"] for row in judge(same)["comparisons"]} == {2}


def test_a_gain_of_the_size_said_to_be_visible_is_seen_as_often_as_said() -> None:
    equal = {"luck": 0.0, "repetitions": 1, "placebo": 0.0}
    told = [
        judge(experiment(seed, **equal), seed=seed)["recommenders"][0]["power"]
        for seed in range(15)
    ]
    assert {one["chance"] for one in told} == {0.8} and {one["n_users"] for one in told} == {60}
    gain = float(np.median([one["gain"] for one in told]))
    passed = [
        accepted(judge(experiment(seed, gain=gain, **equal), seed=seed)) for seed in range(100, 250)
    ]
    assert 0.7 <= np.mean(passed) <= 0.9  # about three standard errors to either side


def test_against_one_rival_the_visible_gain_is_that_of_the_textbook() -> None:
    n, sd = 80, 0.1
    reach = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
    gains = np.random.default_rng(1).normal(0, 1, (n, 1))
    gains = (gains - gains.mean()) / gains.std() * sd
    options = {"own_sd": 0.0, "other_sds": np.zeros(1), "kept": np.ones(1), "power": 0.8}
    found = detectable(gains, np.array([reach]), samples=4000, seed=1, **options)
    assert found == pytest.approx(stats.norm.ppf(0.8) * sd / np.sqrt(n) + reach, rel=0.04)


def test_several_rivals_that_vary_apart_make_a_gain_harder_to_see() -> None:
    gains = np.random.default_rng(1).normal(0, 0.1, (80, 5))
    options = {"own_sd": 0.0, "kept": np.ones(1), "power": 0.8, "samples": 2000, "seed": 1}
    one = detectable(gains[:, :1], np.full(1, 0.02), other_sds=np.zeros(1), **options)
    five = detectable(gains, np.full(5, 0.02), other_sds=np.zeros(5), **options)
    lucky = detectable(gains, np.full(5, 0.02), other_sds=np.full(5, 0.02), **options)
    assert one < five < lucky


def test_arms_are_reported_and_compared_by_the_mean_of_their_trainings() -> None:
    taste = np.random.default_rng(0).normal(0.3, 0.1, 60)
    tables = {
        ("a", "none"): [table(taste)],
        ("a", "bootstrap"): [table(taste)],
        ("a", "gan"): [table(taste + shift) for shift in (-0.05, 0.05, 0.3)],
    }
    decision = judge(tables)
    arm = decision["arms"][2]
    assert arm["test"]["overall"]["ndcg@10"] == pytest.approx(taste.mean() + 0.1)
    told = arm["repetitions"]["test"]["overall"]
    assert told["mean"] == pytest.approx(taste.mean() + 0.1) and len(told["values"]) == 3
    assert told["sd"] == pytest.approx(np.std([-0.05, 0.05, 0.3], ddof=1))
    row = decision["comparisons"][0]
    assert row["difference"] == pytest.approx(0.1)
    assert row["ci_low"] < 0 < row["ci_high"]  # three trainings so far apart show nothing
    assert "3 trainings" in decision["sentences"][1]
    assert (
        decision["recommenders"][0]["candidate"] == "gan"
    )  # better on average on validation users too


def test_longer_training_is_no_gain_of_the_data() -> None:
    one = [table(np.full(30, 0.2))]
    arms = [
        Arm("multvae", "none", "real", steps=400),
        Arm("multvae", "gan", "generated", steps=800),
    ]
    with pytest.raises(InputError, match="800 gradient steps on gan and 400 elsewhere"):
        decide(arms, {("multvae", "none"): one, ("multvae", "gan"): one}, PASSED, GATE, 1)
