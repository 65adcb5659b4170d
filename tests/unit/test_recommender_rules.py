"""Settings that are "auto": decided from the shape of the data, once, and written down."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from augrec.core.data_shape import DataShape
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find

SHAPE = DataShape(1_000, 500, 60_000, user_length=80, item_length=150)


def drawn(n_users: int, n_items: int, density: float) -> pl.DataFrame:
    """Interactions without any taste: each pair of user and item is there by chance."""
    users, items = np.nonzero(np.random.default_rng(3).random((n_users, n_items)) < density)
    return pl.DataFrame({"user": users, "item": items}).select(
        user_id=pl.format("u{}", "user"), item_id=pl.format("i{}", "item")
    )


@pytest.mark.parametrize(("n_users", "n_items", "density"), [(600, 300, 0.05), (200, 900, 0.02)])
def test_noise_is_the_largest_singular_value_of_rows_without_any_taste(n_users, n_items, density):
    data = TrainingData(drawn(n_users, n_items, density))
    found = np.linalg.svd(data.histories.matrix().toarray(), compute_uv=False)
    assert found[1] == pytest.approx(data.shape.noise, rel=0.12), "the first is that of the mean"


@pytest.mark.parametrize(("of_users", "of_items"), [(1.0, 1.0), (0.8, 1.4), (0.5, 1.5)])
def test_noise_is_known_where_some_users_and_items_are_far_more_active(of_users, of_items):
    draw = np.random.default_rng(5)
    users, items = (
        np.exp(spread * draw.standard_normal(n))
        for spread, n in ((of_users, 1_500), (of_items, 700))
    )
    chances = np.clip(10_000 * np.outer(users / users.sum(), items / items.sum()), 0, 1)
    user, item = np.nonzero(draw.random(chances.shape) < chances)
    rows = pl.DataFrame({"user": user, "item": item}).select(
        user_id=pl.format("u{}", "user"), item_id=pl.format("i{}", "item")
    )
    data = TrainingData(rows)
    found = np.linalg.svd(data.histories.matrix().toarray(), compute_uv=False)[1]
    by_lengths = replace(data.shape, user_variance=None, item_variance=None).noise
    assert data.shape.noise == pytest.approx(found, rel=0.12)
    assert abs(data.shape.noise - found) < abs(by_lengths - found)


def test_a_fitted_model_says_what_auto_was_and_keeps_it(tmp_path):
    data = TrainingData(drawn(80, 40, 0.2))
    fitted = find("ease")().fit(data)
    assert fitted.config.l2 == pytest.approx(data.shape.noise**2, rel=0.01)
    fitted.save(tmp_path / "model")
    assert find("ease").load(tmp_path / "model").config == fitted.config


def test_a_number_is_not_replaced():
    assert find("ease")({"l2": 7.0}).settle(SHAPE) == {}
    assert find("multvae")({"steps": 30}).settle(SHAPE) == {"eval_every": 50}


@pytest.mark.parametrize("name", ["bpr", "multvae", "recvae", "cfgan", "sasrec", "gru4rec", "mmoe"])
def test_ten_times_the_users_take_ten_times_the_steps_within_bounds(name):
    def steps(factor: int) -> int:
        shape = replace(SHAPE, n_users=factor * 1_000, n_interactions=factor * 60_000)
        return find(name)().settle(shape)["steps"]

    most = find(name).Config.most
    fewest = next(n for n in range(1, 100) if steps(n) > 400)
    assert (
        steps(10 * fewest) == pytest.approx(10 * steps(fewest), rel=0.15)
        or steps(10 * fewest) == most
    )
    assert steps(100_000) == most and find(name)().settle(replace(SHAPE, n_users=9))["steps"] >= 400


@pytest.mark.parametrize(("wanted", "ahead"), [(1.0, 1), (7.4, 7), (200.0, 30), (None, 1)])
def test_sequence_models_predict_as_far_ahead_as_they_are_evaluated(wanted, ahead):
    assert find("sasrec")().settle(replace(SHAPE, n_targets=wanted))["ahead"] == ahead


def test_penalties_follow_the_evidence():
    many = replace(SHAPE, n_users=8_000, n_interactions=480_000, item_length=1_200)
    for name, key, grows in (("ease", "l2", True), ("ials", "regularisation", False)):
        few_, many_ = (find(name)().settle(shape)[key] for shape in (SHAPE, many))
        assert (many_ > few_) is grows, name


@pytest.mark.parametrize(("users", "shrinkage"), [(4, 5.0), (20, 2.5), (500, 1.0)])
def test_item_knn_shrinks_less_the_more_users_an_item_has(users, shrinkage):
    shape = replace(SHAPE, n_interactions=users * SHAPE.n_items)
    assert find("item_knn")().settle(shape)["shrinkage"] == shrinkage


def test_a_router_settles_its_members():
    members = [{"popularity": {}}, {"ease": {}}, {"ials": {"factors": 8}}]
    router = find("router")({"members": members})
    alone = find("ease")().settle(SHAPE)["l2"]
    assert router.settle(SHAPE)["members"][1] == {"ease": {"l2": alone}}
    assert router.config.members[2]["ials"]["factors"] == 8
    assert router.settle(SHAPE) == {}, "nothing is left to settle"


def test_training_stops_when_validations_bring_nothing_better():
    rows = drawn(60, 30, 0.2)
    history = rows.group_by("user_id", maintain_order=True).agg(pl.col("item_id").alias("history"))
    cases = history.with_columns(targets=pl.col("history").list.head(1), slice=pl.lit("all"))
    curve: list = []
    config = {"steps": 40, "eval_every": 1, "patience": 3, "learning_rate": 1e-9}
    fitted = find("multvae")(config).fit(TrainingData(rows, cases=cases, log=curve.append))
    assert fitted.describe()["best_step"] == 1 and len(curve) == 4
