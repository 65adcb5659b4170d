"""Item-KNN and content: the formulas they state, on data small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders import item_knn
from augrec.recommenders.base import Recommender, find

N_USERS, N_ITEMS = 30, 12


def met() -> np.ndarray:
    """Weights, 0 where a user did not meet an item; float64 (N_USERS, N_ITEMS)."""
    random = np.random.default_rng(0)
    chosen = random.random((N_USERS, N_ITEMS)) < 0.35
    chosen[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    return chosen * random.uniform(0.5, 2, (N_USERS, 1))


def rows(weights: np.ndarray, **columns: np.ndarray) -> pl.DataFrame:
    users, items = np.nonzero(weights)
    return pl.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in users],
            "item_id": [f"i{item:02}" for item in items],
            "weight": weights[users, items].astype(np.float32),
            **{name: values[users, items] for name, values in columns.items()},
        }
    )


def score_of(fitted: Recommender, history: list[str]) -> dict[str, float]:
    asked = pl.Series([history], dtype=pl.List(pl.String))
    items, scores = fitted.recommend(asked, len(fitted.items), exclude_seen=False)
    return dict(zip(items[0], scores[0].tolist(), strict=True))


def knn(**config: object) -> Recommender:
    plain = {"similarity": "cosine", "nearest_to": "met", "popularity_blend": 0.0}
    return find("item_knn")({**plain, "neighbours": N_ITEMS, **config})


def similarity(kind: str, weights: np.ndarray, shrinkage: float) -> np.ndarray:
    importance = np.ones(N_USERS)
    if kind != "cosine":
        importance = np.log(1 + N_ITEMS / (weights > 0).sum(1))
        importance /= np.sqrt((weights.sum(1) * importance**2).sum() / weights.sum())
    x = np.sqrt(weights) * importance[:, None]
    p = x.T @ x
    lengths = np.diag(p)
    divisor = (
        np.sqrt(lengths)
        if kind != "bm25"
        else (1 + 1.2 * (0.6 + 0.4 * lengths / lengths.mean())) / 2.2
    )
    values = p * p / (p + shrinkage) / np.outer(divisor, divisor)
    np.fill_diagonal(values, 0)
    return values


def test_an_item_of_a_history_counts_once_whatever_its_weight_and_number() -> None:
    fitted, table = knn().fit(TrainingData(rows(met()))), rows(met())
    weighted = Histories.from_interactions(table, fitted.items)
    plain = Histories.from_interactions(
        table.with_columns(pl.lit(1, pl.Float32).alias("weight")), fitted.items
    )
    twice = Histories.from_interactions(pl.concat([table, table]), fitted.items)
    np.testing.assert_array_equal(fitted.score(weighted), fitted.score(plain))
    np.testing.assert_array_equal(fitted.score(twice), fitted.score(plain))


@pytest.mark.parametrize("kind", ["cosine", "tfidf", "bm25"])
def test_a_score_is_the_stated_sum_of_similarities(kind):
    scores = score_of(
        knn(similarity=kind, shrinkage=3.0).fit(TrainingData(rows(met()))), ["i01", "i05"]
    )
    expected = similarity(kind, met(), 3.0)[[1, 5]].sum(0)
    assert [scores[f"i{item:02}"] for item in range(N_ITEMS)] == pytest.approx(
        expected.tolist(), rel=1e-4
    )


def test_only_the_nearest_neighbours_are_kept():
    scores = score_of(knn(neighbours=2, shrinkage=0.0).fit(TrainingData(rows(met()))), ["i03"])
    expected = similarity("cosine", met(), 0.0)[3]
    nearest = {f"i{item:02}" for item in np.argsort(-expected)[:2]}
    assert {item for item, score in scores.items() if score > 0} == nearest


def test_the_nearest_are_those_of_the_history_item_or_of_the_item_recommended():
    expected = similarity("cosine", met(), 0.0)
    given = np.argsort(-expected, axis=1)[:, :2]
    for side, kept in (("met", given[3]), ("recommended", np.flatnonzero((given == 3).any(1)))):
        scores = score_of(
            knn(neighbours=2, shrinkage=0.0, nearest_to=side).fit(TrainingData(rows(met()))),
            ["i03"],
        )
        assert {item for item, score in scores.items() if score > 0} == {
            f"i{item:02}" for item in kept
        }


def test_neighbours_found_in_small_blocks_are_the_same(monkeypatch):
    whole = knn(neighbours=3).fit(TrainingData(rows(met())))._model_state()
    monkeypatch.setattr(item_knn, "_CELLS", 2 * N_ITEMS)
    blocks = knn(neighbours=3).fit(TrainingData(rows(met())))._model_state()
    assert all((whole[name] == blocks[name]).all() for name in whole)


def test_an_item_that_is_a_target_only_is_recommended_but_recommends_nothing():
    observed = np.ones((N_USERS, N_ITEMS), np.bool_)
    observed[:, 4] = False
    fitted = knn().fit(TrainingData(rows(met(), observed=observed)))
    together = (met()[:, [4]] * met() > 0).any(0)
    assert set(score_of(fitted, ["i04"]).values()) == {0.0}
    for other in np.flatnonzero(together & (np.arange(N_ITEMS) != 4)):
        assert score_of(fitted, [f"i{other:02}"])["i04"] > 0


SHOP = pl.DataFrame(
    {
        "item_id": ["lamp", "light", "chair", "stool", "thing", "never bought"],
        "title": ["Desk LAMP", "lamp, large", "chair", None, None, "a lamp"],
        "description": [None, None, "seat of oak", "Oak seat", None, None],
        "categories": [
            ["lighting"],
            ["lighting"],
            ["seating"],
            ["seating", None],
            None,
            ["lighting"],
        ],
        "tags": pl.Series([None] * 6, dtype=pl.List(pl.String)),
    }
)
BOUGHT = pl.DataFrame(
    {"user_id": list("abcde"), "item_id": ["lamp", "light", "chair", "stool", "thing"]}
)


def content(**config: object) -> Recommender:
    return find("content")({"popularity_blend": 0.0, **config})


def test_items_described_alike_are_recommended():
    scores = score_of(content().fit(TrainingData(BOUGHT, items=SHOP)), ["lamp"])
    assert scores["light"] == pytest.approx(
        1, abs=1e-6
    )  # of "desk" and "large" each describes one item only
    assert scores["chair"] == scores["stool"] == scores["thing"] == 0


def test_a_score_is_the_mean_cosine_to_the_history():
    scores = score_of(content(min_items=1).fit(TrainingData(BOUGHT, items=SHOP)), ["chair", "lamp"])
    single = [
        score_of(content(min_items=1).fit(TrainingData(BOUGHT, items=SHOP)), [item])
        for item in ("chair", "lamp")
    ]
    assert scores["stool"] == pytest.approx((single[0]["stool"] + single[1]["stool"]) / 2)
    assert 0 < scores["stool"] < 0.5


def test_a_column_of_weight_zero_is_left_out():
    by_category = content(title=0, description=0).fit(TrainingData(BOUGHT, items=SHOP))
    assert score_of(by_category, ["chair"])["stool"] == pytest.approx(1, abs=1e-6)
    nothing_shared = content(description=0, categories=0).fit(TrainingData(BOUGHT, items=SHOP))
    assert score_of(nothing_shared, ["chair"])["stool"] == 0


def test_where_words_say_nothing_popularity_decides():
    fitted = find("content")().fit(
        TrainingData(
            pl.concat([BOUGHT, BOUGHT.tail(2).with_columns(user_id=pl.lit("f"))]), items=SHOP
        )
    )
    scores = score_of(fitted, ["thing"])
    assert scores["stool"] > scores["lamp"] > 0


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        (None, "needs the items table"),
        (SHOP.drop("item_id"), "item_id"),
        (SHOP.select("item_id"), "no word describes"),
        (SHOP.with_columns(item_id="other " + pl.col("item_id")), "no word describes"),
        (SHOP.clear(), "no word describes"),
    ],
)
def test_items_without_a_description_are_refused(items, problem):
    with pytest.raises(InputError, match=problem):
        content().fit(TrainingData(BOUGHT, items=items))
