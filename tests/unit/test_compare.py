from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.evaluation.compare import COMPARED, FIRST, compare, judge
from augrec.evaluation.config import GateConfig
from augrec.reporting.comparison_words import sentence

GATE = GateConfig(bootstrap_samples=300)


def measured(shift: float = 0.0, noise: float = 0.0, n_users: int = 50) -> pl.DataFrame:
    random = np.random.default_rng(1)
    values = random.random(2 * n_users)
    users = [f"u{user:03}" for user in range(n_users)]
    return pl.DataFrame(
        {
            "user_id": users * 2,
            "slice": ["0"] * n_users + ["1-5"] * n_users,
            "ndcg@10": values + shift + noise * random.normal(size=2 * n_users),
        }
    )


def told(found: dict[str, Any], outcome: str = COMPARED, lost: str | None = None) -> str:
    champion = {"version": "6", "recommender": "ease", "policy": "none"}
    return sentence(
        {
            "outcome": outcome,
            "challenger": {**champion, "version": "7"},
            "champion": None if outcome == FIRST else champion,
            "lost_champion": lost,
            "comparison": found,
        }
    )


def test_a_model_against_itself_is_not_better_and_not_worse():
    found = compare(measured(), measured().reverse(), GATE, 1)
    assert (found["better"], found["non_inferior"], found["difference"]) == (False, True, 0.0)
    assert found["verdict"] == "not_worse" and "as good as the champion, version 6" in told(found)
    assert "no worse" in told(found)


def test_a_better_challenger_is_called_better_in_every_slice():
    found = compare(measured(), measured(0.1, 0.05), GATE, 1)
    assert found["better"] and found["non_inferior"] and found["verdict"] == "better"
    assert [row["slice"] for row in found["slices"]] == ["0", "1-5"]
    assert all(row["ci_low"] > 0 for row in found["slices"])
    assert found["difference"] == pytest.approx(found["challenger_mean"] - found["champion_mean"])
    json.dumps(found, allow_nan=False)


def test_a_worse_challenger_is_neither():
    found = compare(measured(), measured(-0.1, 0.05), GATE, 1)
    assert not found["better"] and not found["non_inferior"] and found["verdict"] == "open"


def test_a_small_loss_within_the_margin_is_tolerated():
    champion = measured()
    loss = -0.005 * float(champion["ndcg@10"].mean())  # type: ignore[arg-type]
    found = compare(champion, measured(loss), GATE, 1)
    assert found["non_inferior"] and not found["better"]


def test_too_few_users_decide_nothing():
    found = compare(measured(n_users=10), measured(0.3, n_users=10), GATE, 1)
    assert not found["better"] and not found["non_inferior"]
    assert found["verdict"] == "too_few_users" and "too few" in told(found)


def test_the_gate_may_be_the_section_of_the_parameters():
    as_mapping = compare(measured(), measured(0.1), GATE.model_dump(), 1)
    assert as_mapping == compare(measured(), measured(0.1), GATE, 1)


def test_only_test_rows_are_compared_where_the_split_is_named():
    champion, challenger = measured(), measured(0.1)
    both = [
        pl.concat(
            [
                t.with_columns(split=pl.lit("test")),
                t.with_columns(pl.col("ndcg@10") * 0, split=pl.lit("valid")),
            ]
        )
        for t in (champion, challenger)
    ]
    assert compare(*both, GATE, 1) == compare(champion, challenger, GATE, 1)


def test_different_cases_cannot_be_compared():
    with pytest.raises(InputError, match="different cases"):
        compare(measured(), measured().head(60), GATE, 1)


def test_another_recommender_that_costs_cold_users_their_lists_is_left_to_a_person() -> None:
    champion, better = measured(), measured(0.3, 0.05)
    cold = pl.col("slice") == "0"
    uneven = better.with_columns(
        pl.when(cold).then(champion["ndcg@10"] * 0.4).otherwise(pl.col("ndcg@10")).alias("ndcg@10")
    )
    found = compare(champion, uneven.with_columns(pl.col("ndcg@10") + 0.3 * ~cold), GATE, 1)
    assert found["better"] and [row["group"] for row in found["lost"]] == ["0"]
    assert judge(COMPARED, found) == (True, True)
    assert "users with no known item" in told(found) and "a person has to decide" in told(found)
    even = compare(champion, better, GATE, 1)
    assert judge(COMPARED, even) == (True, False) and "person" not in told(even)


def test_a_group_of_users_that_loses_is_left_to_a_person_too() -> None:
    champion, users = measured(), measured()["user_id"].unique().sort()
    region = pl.DataFrame({"user_id": users, "region": ["north", "south"] * (len(users) // 2)})
    north = champion["user_id"].is_in(region.filter(region="north")["user_id"].implode())
    uneven = champion.with_columns(
        pl.when(north)
        .then(0.5 * pl.col("ndcg@10"))
        .otherwise(pl.col("ndcg@10") + 0.9)
        .alias("ndcg@10")
    )
    found = compare(champion, uneven, GATE, 1, region)
    assert [(row["kind"], row["group"]) for row in found["lost"]] == [("region", "north")]
    assert "users with region north" in told(found)


def test_a_challenger_that_is_likely_better_is_offered_a_test_with_its_number_of_users() -> None:
    found = compare(measured(), measured(0.03, 0.2), GATE, 1)
    assert found["verdict"] == "open" and 0.6 < found["chance"] < 0.975
    gains = measured(0.03, 0.2)["ndcg@10"] - measured()["ndcg@10"]
    per_user = np.asarray(gains).reshape(2, -1).mean(axis=0)
    by_hand = ((1.960 + 0.842) * per_user.std(ddof=1) / per_user.mean()) ** 2
    assert found["needed"]["shadow"] == pytest.approx(by_hand, rel=0.01, abs=1)
    assert found["needed"]["split"] > 2 * found["needed"]["shadow"]
    text = told(found)
    assert f"likely better ({100 * found['chance']:.0f} % sure)" in text
    assert "`augrec challenge 7`" in text and judge(COMPARED, found)[0] is False
    assert compare(measured(), measured(-0.05, 0.3), GATE, 1)["needed"] is None


def test_a_first_model_is_refused_below_popularity_and_only_there() -> None:
    popularity = measured()
    assert judge(FIRST, compare(popularity, measured(0.03, 0.2), GATE, 1)) == (True, False)
    assert judge(FIRST, compare(popularity, measured(-0.004), GATE, 1)) == (True, False)
    below = compare(popularity, measured(-0.02, 0.05), GATE, 1)
    assert judge(FIRST, below) == (False, False)
    assert "worse than showing everybody what is popular" in told(below, FIRST)
    assert judge(FIRST, None) == (True, False)


def test_the_place_of_a_deleted_champion_is_told() -> None:
    text = told(compare(measured(), measured(0.1, 0.05), GATE, 1), lost="9")
    assert text.startswith("The champion, version 9, was deleted in MLflow; version 6")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    column = pl.when(pl.int_range(pl.len()) == 3).then(value).otherwise(pl.col("ndcg@10"))
    with pytest.raises(InputError, match="infinite or not a number"):
        compare(measured(), measured().with_columns(column.alias("ndcg@10")), GATE, 1)
