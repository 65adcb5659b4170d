"""Measures of heads against scikit-learn, and which pairs heads are asked about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex
from augrec.evaluation.heads import N_BINS, N_DRAWN, auc, calibration_error, evaluate_heads, log_loss
from augrec.recommenders._heads import HasHeads, heads_of

ITEMS = [f"i{item:02}" for item in range(20)]
HEADS = heads_of(["purchase", "rating", "view"], rated=True)


def draw(seed: int, n: int = 400, groups: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, predictions with many ties, weights, groups; group 0 has one class only."""
    random = np.random.default_rng(seed)
    group = random.integers(0, groups, n)
    happened = (random.random(n) < 0.3) & (group > 0)
    said = np.round(np.clip(0.3 * happened + random.random(n) * 0.7, 0, 1), 1).astype(np.float32)
    return happened, said, random.random(n) + 0.1, group


@pytest.mark.parametrize("seed", range(4))
def test_auc_and_log_loss_are_those_of_scikit_learn_in_every_group(seed):
    happened, said, weights, group = draw(seed)
    areas, losses = (measure(happened, said, weights, group, 5) for measure in (auc, log_loss))
    for number in range(1, 5):
        own = group == number
        y, p, w = happened[own], said[own], weights[own]
        assert areas[number] == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w))
        clipped = np.clip(p.astype(float), 1e-7, 1 - 1e-7)
        assert losses[number] == pytest.approx(sk.log_loss(y, clipped, sample_weight=w), rel=1e-5)


def test_one_class_has_a_log_loss_but_no_auc():
    happened, said, weights, group = draw(0)
    assert np.isnan(auc(happened, said, weights, group, 5)[0])
    own = group == 0
    expected = sk.log_loss(
        happened[own],
        np.clip(said[own].astype(float), 1e-7, 1),
        sample_weight=weights[own],
        labels=[False, True],
    )
    assert log_loss(happened, said, weights, group, 5)[0] == pytest.approx(expected, rel=1e-5)


def test_a_group_without_pairs_has_neither():
    happened, said, weights, group = draw(1)
    assert np.isnan(auc(happened, said, weights, group, 6)[5])
    assert np.isnan(log_loss(happened, said, weights, group, 6)[5])


def test_the_auc_of_equal_predictions_is_one_half():
    happened = np.array([True, False, True, False])
    assert auc(happened, np.full(4, 0.3), np.ones(4), np.zeros(4, int), 1) == pytest.approx([0.5])


@pytest.mark.parametrize("seed", range(3))
def test_the_calibration_error_is_that_of_the_bins_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    said = random.random(500)
    happened = random.random(500) < said**2
    share, mean = calibration_curve(happened, said, n_bins=N_BINS)
    counts = np.histogram(said, np.linspace(0, 1, N_BINS + 1))[0]
    expected = (np.abs(share - mean) * counts[counts > 0]).sum() / 500
    assert calibration_error(happened, said, np.ones(500)) == pytest.approx(expected)


def test_whole_weights_count_as_copies_in_the_calibration_error():
    happened, said, _, _ = draw(2)
    twice = np.where(happened, 2.0, 1.0)
    copies = np.repeat(np.arange(len(said)), twice.astype(int))
    assert calibration_error(happened, said, twice) == pytest.approx(
        calibration_error(happened[copies], said[copies], np.ones(len(copies)))
    )
    assert calibration_error(happened[:0], said[:0], twice[:0]) is None


def test_of_ratings_there_are_two_heads_of_other_events_one():
    assert [(head.name, head.event, head.kind) for head in HEADS] == [
        ("purchase", "purchase", "probability"),
        ("rated", "rating", "probability"),
        ("rating", "rating", "value"),
        ("view", "view", "probability"),
    ]
    assert [head.name for head in heads_of(["rating"], rated=False)] == ["rated"]


class Oracle:
    """Says what it was told to of every item, whoever asks, and remembers what it was asked."""

    def __init__(self, said: dict[str, np.ndarray]) -> None:
        self.items, self.heads, self.said = ItemIndex(ITEMS), HEADS, said
        self.asked: list[set[int]] = []

    def predict_events(self, histories: Histories, items: np.ndarray) -> dict[str, np.ndarray]:
        self.asked += [set(row[row >= 0].tolist()) for row in items]
        return {head.name: self.said[head.name][items] for head in self.heads}


def done(*rows: tuple[str, str, str, float | None]) -> pl.DataFrame:
    """user, item, event, value."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        rows,
        schema={"user_id": pl.String, "item_id": pl.String, "event": pl.String, "value": pl.Float32},
        orient="row",
    ).with_columns(
        timestamp=pl.Series([start + timedelta(hours=row) for row in range(len(rows))], dtype=TIME),
        origin=pl.lit("real"),
        weight=pl.lit(1.0, pl.Float32),
    )


DONE = done(
    ("a", "i00", "view", None),
    ("a", "i01", "purchase", None),
    ("a", "i02", "rating", 4.0),
    ("a", "i03", "rating", 2.0),
    ("b", "i04", "view", None),
    ("b", "new", "view", None),
    ("else", "i05", "view", None),
)
CASES = pl.DataFrame(
    {
        "user_id": ["a", "b"],
        "slice": ["1-5", "0"],
        "history": [["i00"], []],
        "targets": [["i01", "i02", "i03"], ["i04", "new"]],
    },
    schema_overrides={"history": pl.List(pl.String), "targets": pl.List(pl.String)},
)


def even(**said: np.ndarray) -> Oracle:
    return Oracle({head.name: np.full(20, 0.5, np.float32) for head in HEADS} | said)


def test_a_head_that_knows_everything_is_perfect_and_one_that_says_a_half_guesses():
    sure = np.zeros(20, np.float32)
    sure[[1]] = 1
    ratings = np.full(20, 3.0, np.float32)
    oracle = even(purchase=sure, rating=ratings)
    assert isinstance(oracle, HasHeads)
    table, overall = evaluate_heads(oracle, CASES, DONE, seed=1)
    assert overall["purchase"] == {"n": 1, "auc": 1.0, "log_loss": pytest.approx(0, abs=1e-6), "ece": 0.0}
    assert overall["view"] == {
        "n": 1,
        "auc": 0.5,
        "log_loss": pytest.approx(np.log(2)),
        "ece": pytest.approx(0),
    }
    assert overall["rating"] == {"n": 2, "mse": 1.0, "rmse": 1.0, "mae": 1.0}
    assert table.select("user_id", "head", "n").rows() == [
        ("a", "purchase", 1),
        ("a", "rated", 2),
        ("a", "rating", 2),
        ("b", "view", 1),
    ]
    assert table.filter(pl.col("head") == "rating")["mse"].to_list() == [1.0]
    assert table.filter(pl.col("head") == "rating")["auc"].to_list() == [None]


def test_a_target_counts_for_the_head_of_each_of_its_events():
    sure = np.zeros(20, np.float32)
    sure[[1]] = 1
    later = done(("a", "i01", "rating", 5.0), ("b", "i04", "purchase", None))
    oracle = even(purchase=sure, rating=np.full(20, 3.0, np.float32))
    table, overall = evaluate_heads(oracle, CASES, pl.concat([DONE, later]), seed=1)
    assert {name: told["n"] for name, told in overall.items()} == {
        "purchase": 2,
        "rated": 3,
        "rating": 3,
        "view": 1,
    }
    assert table.filter(head="purchase").select("user_id", "n").rows() == [("a", 1), ("b", 1)]
    assert table.filter(head="purchase")["auc"][0] == 1 > 0.5 > table.filter(head="purchase")["auc"][1]
    assert overall["rating"]["mae"] == pytest.approx(4 / 3)


def test_heads_are_asked_about_targets_they_know_and_items_the_user_never_meets():
    oracle = even()
    evaluate_heads(oracle, CASES, DONE, seed=1)
    assert 3 * len(ITEMS) < N_DRAWN  # so that every item that may be drawn is
    assert oracle.asked == [set(range(20)) - {0}, set(range(20))]


def test_a_head_without_an_event_has_nothing_to_show():
    table, overall = evaluate_heads(even(), CASES.filter(user_id="b"), DONE, seed=1)
    assert overall["purchase"] == {"n": 0, "auc": None, "log_loss": None, "ece": None}
    assert overall["rating"] == {"n": 0, "mse": None, "rmse": None, "mae": None}
    assert table["head"].to_list() == ["view"]


def test_a_user_who_meets_every_item_has_no_auc():
    rows = [("a", item, "view", None) for item in ITEMS]
    cases = CASES.head(1).with_columns(targets=pl.Series([ITEMS[1:]]))
    table, overall = evaluate_heads(even(), cases, done(*rows), seed=1)
    assert overall["view"]["auc"] is None
    assert overall["view"]["n"] == 19
    assert table["auc"].to_list() == [None]


def test_the_same_seed_draws_the_same_items():
    said = even(view=np.linspace(0.1, 0.9, 20).astype(np.float32))
    first, second, other = (evaluate_heads(said, CASES, DONE, seed=seed)[1] for seed in (1, 1, 2))
    assert first == second != other
