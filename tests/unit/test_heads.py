"""Measures of heads against scikit-learn, and which pairs heads are asked about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex
from augrec.evaluation import heads
from augrec.evaluation.event_metrics import N_BINS, PooledProbabilities, PooledValues, auc, log_loss
from augrec.evaluation.heads import N_DRAWN, evaluate_heads
from augrec.recommenders._heads import HasHeads, heads_of

ITEMS = [f"i{item:02}" for item in range(20)]
HEADS = heads_of(["purchase", "rating", "view"], rated=True)


def draw(
    seed: int, n: int = 400, groups: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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
    assert PooledProbabilities().add(happened, said, np.ones(500)).metrics()[
        "ece"
    ] == pytest.approx(expected)


def test_whole_weights_count_as_copies_in_everything_that_is_pooled():
    happened, said, _, _ = draw(2)
    twice = np.where(happened, 2.0, 1.0)
    copies = np.repeat(np.arange(len(said)), twice.astype(int))
    once = PooledProbabilities().add(happened[copies], said[copies], np.ones(len(copies))).metrics()
    assert PooledProbabilities().add(happened, said, twice).metrics() == pytest.approx(
        once | {"n": int(happened.sum())}
    )
    nothing = PooledProbabilities().add(happened[:0], said[:0], twice[:0]).metrics()
    assert nothing == {"n": 0, "auc": None, "log_loss": None, "ece": None}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_pooled_in_parts_is_that_of_scikit_learn_in_one(seed):
    random = np.random.default_rng(seed)
    said = random.beta(0.4, 2, 3000).astype(np.float32)  # some next to 0, some next to 1
    happened, weights = random.random(3000) < said, random.random(3000) + 0.1
    said[:50], happened[:25] = 0.5, True  # and ties
    sums = PooledProbabilities()
    for part in np.array_split(np.arange(3000), 7):
        sums.add(happened[part], said[part], weights[part])
    told = sums.metrics()
    clipped = np.clip(said.astype(float), 1e-7, 1 - 1e-7)
    assert told["auc"] == pytest.approx(
        sk.roc_auc_score(happened, said, sample_weight=weights), abs=2e-5
    )
    assert told["log_loss"] == pytest.approx(
        sk.log_loss(happened, clipped, sample_weight=weights), rel=1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_values_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    came, said = random.integers(1, 6, 200).astype(float), random.normal(3, 2, 200)
    sums = PooledValues()
    for part in np.array_split(np.arange(200), 3):
        sums.add(said[part] - came[part])
    assert sums.metrics() == pytest.approx(
        {
            "n": 200,
            "mse": sk.mean_squared_error(came, said),
            "rmse": sk.root_mean_squared_error(came, said),
            "mae": sk.mean_absolute_error(came, said),
        }
    )


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
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event": pl.String,
            "value": pl.Float32,
        },
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
    sure_of_all = {"n": 1, "auc": 1.0, "log_loss": pytest.approx(0, abs=1e-6), "ece": 0.0}
    nothing = {"n": 0, "auc": None, "log_loss": None, "ece": None}
    assert overall["purchase"] == sure_of_all | {"slices": {"0": nothing, "1-5": sure_of_all}}
    guesses = {"n": 1, "auc": 0.5, "log_loss": pytest.approx(np.log(2)), "ece": pytest.approx(0)}
    assert overall["view"] == guesses | {"slices": {"0": guesses, "1-5": nothing}}
    unrated = {"n": 0, "mse": None, "rmse": None, "mae": None}
    off_by_one = {"n": 2, "mse": 1.0, "rmse": 1.0, "mae": 1.0}
    assert overall["rating"] == off_by_one | {"slices": {"0": unrated, "1-5": off_by_one}}
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
    assert (
        table.filter(head="purchase")["auc"][0] == 1 > 0.5 > table.filter(head="purchase")["auc"][1]
    )
    assert overall["rating"]["mae"] == pytest.approx(4 / 3)


def test_heads_are_measured_on_known_targets_and_items_the_user_never_has():
    oracle = even()
    evaluate_heads(oracle, CASES, DONE, seed=1)
    assert 3 * len(ITEMS) < N_DRAWN  # so that every item that may be drawn is
    assert oracle.asked == [set(range(20)) - {0}, set(range(20))]


def test_a_head_without_an_event_has_nothing_to_show():
    table, overall = evaluate_heads(even(), CASES.filter(user_id="b"), DONE, seed=1)
    nothing = {"n": 0, "auc": None, "log_loss": None, "ece": None}
    assert overall["purchase"] == nothing | {"slices": {"0": nothing}}
    unrated = {"n": 0, "mse": None, "rmse": None, "mae": None}
    assert overall["rating"] == unrated | {"slices": {"0": unrated}}
    assert table["head"].to_list() == ["view"]


def test_a_user_with_every_item_has_no_auc():
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


def many(n_users: int = 60) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cases, two a user and not one after the other, and events of a third of the items, some of
    them rated."""
    random = np.random.default_rng(5)
    users, items = np.nonzero(random.random((n_users, len(ITEMS))) < 0.3)
    kinds = np.array(["view", "purchase", "rating"])[random.integers(0, 3, len(users))]
    events = done(
        *(
            (
                f"u{user:02}",
                ITEMS[item],
                str(kind),
                float(random.integers(1, 6)) if kind == "rating" else None,
            )
            for user, item, kind in zip(users, items, kinds, strict=True)
        )
    )
    met = events.group_by("user_id", maintain_order=True).agg(pl.col("item_id"))
    cases = [
        met.select(
            "user_id",
            slice=pl.lit(name),
            history=pl.col("item_id").list.head(n),
            targets=pl.col("item_id").list.slice(n),
        )
        for name, n in (("0", 0), ("1-5", 2))
    ]
    return pl.concat(cases).filter(pl.col("targets").list.len() > 0), events


def taught(seed: int) -> Oracle:
    """Says something else of every item."""
    random = np.random.default_rng(seed)
    said = {head.name: random.random(len(ITEMS)).astype(np.float32) for head in HEADS}
    return even(**said | {"rating": random.normal(3, 1, len(ITEMS)).astype(np.float32)})


def test_going_through_cases_in_parts_changes_nothing(monkeypatch):
    cases, events = many()
    large, small = taught(1), taught(1)
    table, overall = evaluate_heads(large, cases, events, seed=1)
    monkeypatch.setattr(heads, "_CASES_AT_ONCE", 7)
    monkeypatch.setattr(heads, "_CELLS", 500)
    parts, in_parts = evaluate_heads(small, cases, events, seed=1)
    assert_frame_equal(parts, table)
    assert small.asked == large.asked
    for head in HEADS:
        assert in_parts[head.name].pop("slices").keys() == overall[head.name].pop("slices").keys()
        assert in_parts[head.name] == pytest.approx(overall[head.name])


def test_recommenders_of_one_catalogue_are_asked_about_the_same_items():
    cases, events = many()
    first, second = taught(1), taught(2)
    for oracle in (first, second):
        evaluate_heads(oracle, cases, events, seed=1)
    assert first.asked == second.asked


def test_a_slice_is_reported_as_if_there_were_no_other():
    cases, events = many()
    ratings = events.filter(event="rating").join(
        cases.explode("targets"), left_on=["user_id", "item_id"], right_on=["user_id", "targets"]
    )
    oracle = taught(1)
    _, overall = evaluate_heads(oracle, cases, events, seed=1)
    said = oracle.said["rating"][oracle.items.encode(ratings["item_id"])]
    for name in ("0", "1-5"):
        own = (ratings["slice"] == name).to_numpy()
        told = overall["rating"]["slices"][name]
        assert told["n"] == own.sum() > 50
        assert told["rmse"] == pytest.approx(
            sk.root_mean_squared_error(ratings["value"].to_numpy()[own], said[own])
        )
    whole = [overall["view"]["slices"][name] for name in ("0", "1-5")]
    n = sum(part["n"] for part in whole)
    assert n == overall["view"]["n"]
    assert overall["view"]["log_loss"] == pytest.approx(
        sum(part["n"] * part["log_loss"] for part in whole) / n
    )
