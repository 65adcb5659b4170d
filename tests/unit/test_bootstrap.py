from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from augrec.core.errors import InputError
from augrec.evaluation import bootstrap
from augrec.evaluation.bootstrap import interval, paired_difference


def measured(values: dict[str, list[float]], slice_name: str = "1-5") -> pl.DataFrame:
    rows = [(user, slice_name, value) for user, several in values.items() for value in several]
    return pl.DataFrame(
        rows, schema={"user_id": pl.String, "slice": pl.String, "ndcg@10": pl.Float64}, orient="row"
    )


def difference(
    candidate: pl.DataFrame, comparator: pl.DataFrame, **options: object
) -> bootstrap.Difference:
    settings = {"confidence": 0.95, "samples": 500, "seed": 1} | options
    return paired_difference(candidate, comparator, "ndcg@10", **settings)  # type: ignore[arg-type]


def test_the_interval_agrees_with_students_on_normal_values():
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert interval(values, confidence=0.95, samples=4000, seed=1) == pytest.approx(
        expected, abs=0.01
    )


def test_on_few_users_the_interval_still_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(2)
    held = [
        low <= 0 <= high
        for low, high in (
            interval(random.normal(0, 1, 20), confidence=0.9, samples=400, seed=seed)
            for seed in range(400)
        )
    ]
    assert 0.86 <= np.mean(held) <= 0.94


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).normal(size=50)
    first, again, other = (
        interval(values, confidence=0.9, samples=200, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_drawing_in_batches_bounds_memory_and_still_covers_every_sample(monkeypatch):
    values = np.random.default_rng(0).normal(1, 1, 300)
    whole = interval(values, confidence=0.9, samples=2000, seed=1)
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    assert interval(values, confidence=0.9, samples=2000, seed=1) == pytest.approx(whole, abs=0.02)


def test_one_user_says_nothing_about_the_spread():
    assert interval(np.array([0.5]), confidence=0.95, samples=200, seed=1) == (-np.inf, np.inf)
    found = difference(measured({"a": [0.5]}), measured({"a": [0.1]}))
    assert (found.n_users, found.ci_low, found.ci_high) == (1, None, None)
    assert found.difference == pytest.approx(0.4)


def test_no_user_gives_no_number():
    no_users = measured({"a": [0.1]}).clear()
    assert difference(no_users, no_users) == bootstrap.Difference(0, None, None, None, None, None)


def test_a_user_with_many_cases_weighs_as_much_as_one_with_a_single_case():
    candidate = measured({"busy": [1.0] * 50, "quiet": [0.0], "calm": [0.0]})
    comparator = measured({"busy": [0.0] * 50, "quiet": [1.0], "calm": [1.0]})
    found = difference(candidate, comparator)
    assert found.n_users == 3
    assert found.difference == pytest.approx(-1 / 3)


def test_copies_of_a_users_cases_do_not_narrow_the_interval():
    random = np.random.default_rng(3)
    values = {f"u{user}": [float(random.normal())] for user in range(30)}
    zero = {user: [0.0] for user in values}
    once = difference(measured(values), measured(zero))
    often = difference(
        measured({u: v * 20 for u, v in values.items()}),
        measured({u: v * 20 for u, v in zero.items()}),
    )
    assert (once.ci_low, once.ci_high) == pytest.approx((often.ci_low, often.ci_high))


def test_the_order_of_the_rows_does_not_matter_because_users_are_paired():
    random = np.random.default_rng(5)
    values = {f"u{user}": [float(random.random())] for user in range(40)}
    rows = measured(values)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    found = difference(rows, shuffled)
    assert (found.difference, found.ci_low, found.ci_high) == (0.0, 0.0, 0.0)


def test_different_users_cannot_be_paired():
    with pytest.raises(InputError, match="same users"):
        difference(measured({"a": [0.1], "b": [0.2]}), measured({"a": [0.1], "c": [0.2]}))
