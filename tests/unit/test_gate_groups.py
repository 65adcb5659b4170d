"""No group may pay for another's gain: a group that is shown to lose blocks a candidate; one too
small to say does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.evaluation.arm import Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.evaluation.user_means import groups_of_users
from augrec.reporting.decision_words import with_sentences

KINDS = {"none": "real", "bootstrap": "placebo", "gan": "generated"}
GATE = GateConfig(bootstrap_samples=300, non_inferiority_margin=0.02)
N = 400


def cases(n: int = N) -> pl.DataFrame:
    """Test users with attributes: two of one size, and eight cities of very different sizes."""
    city = np.minimum(np.random.default_rng(0).geometric(0.4, n), 8)
    return pl.DataFrame(
        {
            "user_id": [f"u{user:04}" for user in range(n)],
            "slice": np.where(np.arange(n) % 2, "1-5", "21+"),
            "gender": np.where(np.arange(n) % 4 < 2, "F", "M"),
            "city": [f"city {number}" for number in city],
            "user__views": np.arange(n),
        }
    )


def rows(values: np.ndarray, tail: np.ndarray | None = None) -> pl.DataFrame:
    known = cases(len(values))
    test = known.select("user_id", "slice").with_columns(
        pl.lit("test").alias("split"),
        pl.Series("ndcg@10", values),
        pl.Series("recall_tail@10", np.zeros(len(values)) if tail is None else tail),
    )
    valid = test.with_columns(
        pl.lit("valid").alias("split"), pl.lit("valid").add("user_id").alias("user_id")
    )
    return pl.concat([test, valid])


def judge(
    change: np.ndarray, tail: np.ndarray | None = None, seed: int = 0, noise: float = 0.05
) -> dict[str, Any]:
    """The choice between real data and a candidate that changes each user's value by so much, and
    by chance."""
    n, random = len(change), np.random.default_rng(seed)
    base = random.normal(0.3, 0.1, n)
    shown = random.normal(0.1, 0.02, n)
    plain = rows(base, shown)
    candidate = rows(
        base + change + random.normal(0, noise, n), None if tail is None else shown + tail
    )
    tables = {
        ("ease", "none"): [plain],
        ("ease", "bootstrap"): [plain],
        ("ease", "gan"): [
            candidate if tail is not None else candidate.with_columns(plain["recall_tail@10"])
        ],
    }
    arms = [Arm(*key, KINDS[key[1]], ("gan",) if key[1] == "gan" else ()) for key in tables]
    audits = {"gan": {"passed": True, "failed_limits": []}}
    [choice] = with_sentences(decide(arms, tables, audits, GATE, seed, groups_of_users(cases(n))))[
        "recommenders"
    ]
    return choice


def verdicts(choice: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(row["kind"], row["group"]): row["verdict"] for row in choice["groups"]}


def test_every_kind_of_group_is_judged_and_features_of_the_moment_are_none() -> None:
    found = verdicts(judge(np.full(N, 0.1)))
    assert {kind for kind, _ in found} == {"activity", "items", "gender", "city"}
    assert {name for kind, name in found if kind == "activity"} == {"1-5", "21+"}
    assert ("items", "tail") in found and len([kind for kind, _ in found if kind == "city"]) == 8


def test_a_gain_for_all_is_accepted_though_small_groups_have_wide_intervals() -> None:
    choice = judge(np.full(N, 0.03), noise=0.15)
    found = verdicts(choice)
    assert choice["accepted"] and "open" in found.values() and "lost" not in found.values()


def test_a_group_too_small_to_say_is_not_judged_and_is_said_to_be_so() -> None:
    small = (cases()["city"] == "city 8").to_numpy()
    assert 0 < small.sum() < GATE.min_users
    choice = judge(np.where(small, -0.25, 0.05))
    assert choice["accepted"] and verdicts(choice)["city", "city 8"] == "few"


def test_a_group_of_the_least_number_of_users_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    size = int((cases()["city"] == "city 8").sum())
    for least, judged in ((size, True), (size + 1, False)):
        gate = GATE.model_copy(update={"min_users": least})
        monkeypatch.setattr(f"{__name__}.GATE", gate)
        assert (verdicts(judge(np.full(N, 0.1)))["city", "city 8"] != "few") == judged


@pytest.mark.parametrize(("attribute", "value"), [("gender", "F"), ("city", "city 3")])
def test_a_gain_that_a_group_pays_for_is_refused_and_the_group_named(
    attribute: str, value: str
) -> None:
    members = (cases()[attribute] == value).to_numpy()
    choice = judge(np.where(members, -0.04, 0.2))
    assert not choice["accepted"] and choice["chosen"] == "none"
    assert verdicts(choice)[attribute, value] == "lost"
    assert choice["reason"] == f"a loss beyond the margin is shown for {attribute} {value}"


def test_a_gain_that_the_least_popular_items_pay_for_is_refused() -> None:
    choice = judge(np.full(N, 0.1), tail=np.full(N, -0.02))
    assert not choice["accepted"] and "the least popular items" in choice["reason"]
    assert judge(np.full(N, 0.1), tail=np.full(N, -0.0005))["accepted"]  # within the margin


def test_a_loss_within_the_margin_blocks_nothing() -> None:
    members = (cases()["gender"] == "F").to_numpy()
    assert judge(np.where(members, -0.003, 0.2), noise=0.001)["accepted"]


def test_where_nothing_changes_a_lost_group_is_seen_as_seldom_as_promised() -> None:
    """A dozen groups, each by itself wrong in 2.5 %; together in no more. Twelve of 100 would be
    usual without correction."""
    wrong = sum("lost" in verdicts(judge(np.zeros(N), seed=seed)).values() for seed in range(100))
    assert wrong <= 8  # 2.5 expected; more has a chance of about one in a thousand
