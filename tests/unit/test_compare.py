from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.evaluation.compare import compare
from augrec.evaluation.config import GateConfig
from augrec.reporting.approval import sentence

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


def test_a_model_against_itself_is_not_better_and_not_worse():
    found = compare(measured(), measured().reverse(), GATE, 1)
    assert (found["better"], found["non_inferior"], found["difference"]) == (False, True, 0.0)
    assert found["verdict"] == "not_worse" and "not worse" in sentence(found)


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
    assert found["verdict"] == "too_few_users" and "too few" in sentence(found)


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
