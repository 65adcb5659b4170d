"""What goes on from the champion stands for the full retrain only where test users do not speak
against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from test_gate import PASSED, QUICK, Change, changed, noise, plus, rows

from augrec.evaluation.arm import Arm
from augrec.evaluation.config import GateConfig
from augrec.evaluation.gate import decide
from augrec.reporting.decision_words import with_sentences
from augrec.reporting.report import _comparison

KINDS = {
    "none": "real",
    "truncation": "real",
    "fine_tune": "real",
    "again": "real",
    "bootstrap": "placebo",
    "gan": "generated",
}
CONTINUED = ("fine_tune", "again")
LARGE = 400


def on(split: str, table: pl.DataFrame, change: Change) -> pl.DataFrame:
    """The table with the values of one split changed."""
    return pl.concat(
        [
            part if name != split else changed(part, change)
            for (name,), part in table.group_by("split", maintain_order=True)
        ]
    )


def judge(
    policies: Mapping[str, pl.DataFrame],
    gate: GateConfig = QUICK,
    continued: tuple[str, ...] = CONTINUED,
) -> dict[str, Any]:
    arms = [
        Arm(
            "bpr", name, KINDS[name], ("gan",) if name == "gan" else (), continues=name in continued
        )
        for name in policies
    ]
    return with_sentences(
        decide(arms, {("bpr", name): [table] for name, table in policies.items()}, PASSED, gate, 1)
    )


def compared(decision: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Of each policy that goes on from the champion: what it was held against, and whether it
    passed."""
    return {
        row["candidate"]: (row["comparator"], row["passed"])
        for row in decision["comparisons"]
        if row["question"] == "continued"
    }


def test_a_better_one_is_chosen_over_the_full_retrain_and_the_verdict_says_so():
    base = rows(LARGE)
    decision = judge({"none": base, "fine_tune": changed(base, noise(1, 0.02, 0.03))})
    assert compared(decision) == {"fine_tune": ("none", True)}
    assert decision["winner"]["policy"] == decision["recommenders"][0]["chosen"] == "fine_tune"
    verdict, evidence, _ = decision["sentences"]
    assert "from the champion's weights on" in verdict
    assert (
        "fine_tune loses no more than the margin against the full retrain, none (NDCG@10"
        in evidence
    )


def test_one_that_is_worse_on_test_users_is_not_chosen_however_good_on_validation_users():
    base = rows(LARGE)
    decision = judge({"none": base, "fine_tune": on("test", changed(base, plus(0.1)), plus(-0.15))})
    assert compared(decision) == {"fine_tune": ("none", False)}
    assert (
        decision["winner"]["policy"]
        == decision["recommenders"][0]["best_without_generated"]
        == "none"
    )
    assert (
        "fine_tune was better on validation users, but a loss beyond the margin"
        in decision["sentences"][1]
    )
    assert "champion" not in decision["sentences"][0]


def test_an_equal_one_passes_and_leaves_the_choice_to_validation_users():
    base = rows(LARGE)
    same = judge({"fine_tune": base, "none": base})
    assert compared(same) == {"fine_tune": ("none", True)}
    assert same["winner"]["policy"] == "none"  # of equals what needs no champion
    assert (
        judge({"none": base, "fine_tune": on("valid", base, plus(0.01))})["winner"]["policy"]
        == "fine_tune"
    )
    behind = judge({"none": base, "fine_tune": on("valid", base, plus(-0.01))})
    assert behind["winner"]["policy"] == "none" and "champion" not in " ".join(behind["sentences"])


def test_the_margin_decides_what_counts_as_worse():
    base = rows(LARGE)
    near = on("test", changed(base, plus(0.1)), lambda values, slices: (values - 0.1) * 0.97)
    chosen = {
        margin: judge(
            {"none": base, "fine_tune": near},
            QUICK.model_copy(update={"non_inferiority_margin": margin}),
        )["winner"]["policy"]
        for margin in (0.01, 0.1)
    }
    assert chosen == {0.01: "none", 0.1: "fine_tune"}


def test_too_few_users_leave_the_full_retrain():
    base = rows(19)
    decision = judge({"none": base, "fine_tune": changed(base, plus(0.1))})
    assert compared(decision) == {"fine_tune": ("none", False)}
    assert decision["winner"]["policy"] == "none"


def test_the_full_retrain_is_the_best_of_real_data_trained_in_full():
    base = rows(LARGE)
    tables = {
        "none": base,
        "truncation": changed(base, plus(0.02)),
        "bootstrap": changed(base, plus(0.05)),
        "fine_tune": changed(base, plus(0.03)),
    }
    decision = judge(tables)
    assert compared(decision) == {"fine_tune": ("truncation", True)}
    assert decision["winner"]["policy"] == "bootstrap"


def test_where_no_champion_was_continued_nothing_is_held_against_the_retrain():
    base = rows()
    tables = {"none": base, "fine_tune": changed(base, plus(0.01))}
    assert compared(judge(tables, continued=())) == {}
    assert compared(judge({"fine_tune": base})) == {}  # and where there is no full retrain


def test_each_of_several_is_held_to_a_stricter_level():
    base = rows(LARGE)
    one = judge({"none": base, "fine_tune": changed(base, noise(3, 0.05))})
    two = judge({"none": base, "fine_tune": changed(base, noise(3, 0.05)), "again": base})
    [alone], [among] = (
        [row for row in decision["comparisons"] if row["candidate"] == "fine_tune"]
        for decision in (one, two)
    )
    assert (alone["tests"], among["tests"]) == (1, 2)
    assert among["confidence"] == pytest.approx(0.975)
    assert among["ci_low"] < alone["ci_low"]


def test_generated_data_must_beat_the_refused_one_too():
    base = rows(LARGE)
    uneven = changed(changed(base, plus(0.1, "1-5")), plus(-0.3, "21+"))
    decision = judge(
        {
            "none": base,
            "bootstrap": base,
            "fine_tune": uneven,
            "gan": changed(base, noise(2, 0.02, 0.03)),
        }
    )
    assert compared(decision) == {"fine_tune": ("none", False)}
    assert not decision["recommenders"][0]["accepted"]
    assert "not shown to be better than fine_tune" in decision["recommenders"][0]["reason"]


def test_the_report_asks_the_question_of_the_comparison():
    base = rows()
    decision = judge({"none": base, "fine_tune": base})
    [row] = decision["comparisons"]
    assert _comparison(row, decision["gate"]) == (
        "Is fine_tune, from the champion on, no more than 1 % worse than the full retrain, none, "
        "over all users?"
    )
