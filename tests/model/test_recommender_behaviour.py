"""How recommenders behave: what must not change the answer, what must move it which way, and the
least they must do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import RefusedError
from augrec.data.columns import TIME
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.recommenders.base import Recommender, find

N_ITEMS, N_TASTES = 60, 4
PERSONAL = ["ease", "item_knn", "ials", "bpr", "multvae"]
QUICK = {
    "bpr": {"factors": 16, "steps": 150, "batch_size": 64},
    "ials": {"factors": 8},
    "multvae": {"hidden": 64, "latent": 16, "steps": 200, "eval_every": 50, "batch_size": 64},
}


def people(n_users: int, seed: int) -> list[list[str]]:
    """Users who like one quarter of the catalogue far more than the rest; some items are popular
    with all."""
    random = np.random.default_rng(seed)
    likes = np.tile(0.5 / np.arange(1, N_ITEMS + 1) ** 0.7, (n_users, 1))
    likes[np.arange(N_ITEMS) % N_TASTES == random.integers(0, N_TASTES, n_users)[:, None]] += 0.4
    chosen = random.random((n_users, N_ITEMS)) < likes
    return [[f"i{item:02}" for item in random.permutation(np.flatnonzero(row))] for row in chosen]


def training(n_users: int = 250, seed: int = 0) -> pl.DataFrame:
    lists = people(n_users, seed)
    users = [f"u{user:03}" for user, items in enumerate(lists) for _ in items]
    return pl.DataFrame({"user_id": users, "item_id": [item for items in lists for item in items]})


def cases(n_users: int = 100, seed: int = 1, shown: int = 4) -> pl.DataFrame:
    lists = [items for items in people(n_users, seed) if len(items) > shown]
    return pl.DataFrame(
        {
            "user_id": [f"held{user}" for user in range(len(lists))],
            "slice": ["1-5"] * len(lists),
            "history": [items[:shown] for items in lists],
            "targets": [items[shown:] for items in lists],
        }
    )


def mean_ndcg(recommender: Recommender) -> float:
    return float(evaluate(recommender, cases(), [10])["ndcg@10"].mean())  # type: ignore[arg-type]


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


@pytest.fixture(scope="module", params=PERSONAL)
def personal(request: pytest.FixtureRequest) -> Recommender:
    return find(request.param)(QUICK.get(request.param), seed=3).fit(
        TrainingData(training(), cases=cases(seed=2))
    )


@pytest.fixture(scope="module")
def floor() -> float:
    return mean_ndcg(find("popularity")().fit(TrainingData(training())))


def test_a_personal_model_clearly_beats_popularity_where_there_are_tastes(personal, floor):
    assert mean_ndcg(personal) > 1.3 * floor


def test_the_order_of_a_history_changes_nothing(personal):
    there = personal.recommend(histories(["i00", "i04", "i08", "i01"]), 10)
    back = personal.recommend(histories(["i01", "i08", "i04", "i00"]), 10)
    assert (there[0] == back[0]).all()
    assert (there[1] == back[1]).all()


def test_the_names_of_users_change_nothing_for_a_model_in_closed_form():
    rows = training()
    renamed = rows.with_columns(pl.col("user_id").str.reverse())
    first, second = (
        find("ease")().fit(TrainingData(table)).recommend(histories(["i00", "i04"]), 10)[1]
        for table in (rows, renamed)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_liking_an_item_lifts_the_items_of_its_taste(personal):
    """From a history of taste 1 to the same one with an item of taste 2: items of taste 2 gain."""

    def places(history: list[str]) -> float:
        ranked = personal.recommend(histories(history), N_ITEMS)[0][0].tolist()
        return float(
            np.mean([ranked.index(f"i{item:02}") for item in range(30, N_ITEMS, N_TASTES)])
        )

    assert places(["i01", "i05", "i02", "i06"]) < places(["i01", "i05"])


def test_more_weight_on_an_item_makes_it_more_popular():
    rows = training()
    heavy = rows.with_columns(
        weight=pl.when(pl.col("item_id") == "i59").then(100.0).otherwise(1.0).cast(pl.Float32)
    )
    assert (
        find("popularity")().fit(TrainingData(heavy)).recommend(histories([]), 1)[0][0, 0] == "i59"
    )
    assert (
        find("popularity")().fit(TrainingData(rows)).recommend(histories([]), 1)[0][0, 0] != "i59"
    )


def test_with_a_half_life_the_latest_items_come_first():
    days = pl.Series([0, 0, 0, 30, 30], dtype=pl.Int64) * 86_400_000_000
    rows = pl.DataFrame(
        {
            "user_id": list("abcde"),
            "item_id": ["old"] * 3 + ["new"] * 2,
            "timestamp": days.cast(pl.Datetime("us")),
        }
    ).with_columns(pl.col("timestamp").cast(TIME))
    plain, fresh = (
        find("popularity")({"half_life_days": h}).fit(TrainingData(rows)) for h in (None, 10)
    )
    assert plain.recommend(histories([]), 2)[0].tolist() == [["old", "new"]]
    items, scores = fresh.recommend(histories([]), 2)
    assert items.tolist() == [["new", "old"]]
    assert scores[0, 1] / scores[0, 0] == pytest.approx(3 * 2**-3 / 2)


def test_ease_without_weights_is_the_published_closed_form():
    rows = training(60)
    fitted = find("ease")({"l2": 5.0, "popularity_blend": 0.0}).fit(TrainingData(rows))
    x = np.zeros((60, len(fitted.items)))
    x[
        rows["user_id"].str.slice(1).cast(pl.Int64).to_numpy(), fitted.items.encode(rows["item_id"])
    ] = 1
    inverse = np.linalg.inv(x.T @ x + 5.0 * np.eye(x.shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    _, scores = fitted.recommend(histories(["i00", "i01"]), len(fitted.items), exclude_seen=False)
    assert np.sort(expected[fitted.items.encode(pl.Series(["i00", "i01"]))].sum(0))[
        ::-1
    ] == pytest.approx(scores[0], abs=1e-5)


def test_ease_with_unobserved_targets_minimises_its_loss():
    """No small step away from the weights, the diagonal kept at zero, makes the stated loss
    smaller."""
    random = np.random.default_rng(0)
    x = (random.random((40, 8)) < 0.4).astype(float)
    y = np.maximum(x, random.random((40, 8)) < 0.2)
    users, items = np.nonzero(y)
    rows = pl.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in users],
            "item_id": [f"i{item}" for item in items],
            "observed": x[users, items] > 0,
        }
    )
    fitted = find("ease")({"l2": 2.0, "popularity_blend": 0.0}).fit(TrainingData(rows))
    weights = fitted._model_state()["weights"].astype(float)

    def loss(b: np.ndarray) -> float:
        return float(((y - x @ b) ** 2).sum() + 2.0 * (b**2).sum())

    for _ in range(50):
        step = random.normal(0, 1e-2, weights.shape)
        np.fill_diagonal(step, 0)
        assert loss(weights) < loss(weights + step)


def test_ease_in_single_precision_ranks_as_in_double():
    double, single = (
        find("ease")({"dtype": kind}).fit(TrainingData(training()))
        for kind in ("float64", "float32")
    )
    np.testing.assert_allclose(
        double.recommend(histories(["i00", "i04"]), 10)[1],
        single.recommend(histories(["i00", "i04"]), 10)[1],
        atol=1e-4,
    )


def test_ease_refuses_a_catalogue_too_large_for_it_and_says_what_to_do():
    with pytest.raises(RefusedError, match="catalogue") as refusal:
        find("ease")({"max_items": 10}).fit(TrainingData(training()))
    assert "max_items" in refusal.value.fix


def test_cold_users_profit_from_truncated_histories_as_targets():
    """A model that may see the targets as input learns something else than one that may not."""
    rows = training().with_columns(observed=pl.int_range(pl.len()).over("user_id") < 2)
    hidden = find("multvae")(QUICK["multvae"], seed=3).fit(TrainingData(rows))
    shown = find("multvae")(QUICK["multvae"], seed=3).fit(TrainingData(rows.drop("observed")))
    asked = histories(["i00", "i04"])
    assert not np.allclose(hidden.recommend(asked, 10)[1], shown.recommend(asked, 10)[1])


def test_multvae_learns_and_keeps_its_best_checkpoint():
    curve: list[dict[str, float]] = []
    fitted = find("multvae")(QUICK["multvae"], seed=3).fit(
        TrainingData(training(), cases=cases(), log=lambda row: curve.append(dict(row)))
    )
    assert [row["step"] for row in curve] == [50, 100, 150, 200]
    assert curve[-1]["loss"] < curve[0]["loss"]
    best = max(curve, key=lambda row: row["ndcg@10"])
    assert fitted.describe()["best_step"] == best["step"]
    assert mean_ndcg(fitted) == pytest.approx(best["ndcg@10"])


def test_multvae_that_diverges_is_refused():
    with pytest.raises(RefusedError, match="training diverged"):
        find("multvae")(QUICK["multvae"] | {"learning_rate": 1e30}, seed=3).fit(
            TrainingData(training(30))
        )
