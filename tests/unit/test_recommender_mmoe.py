"""MMoE: what its heads find of what was planted, and what it makes of things missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex
from augrec.data.outcomes import with_outcomes
from augrec.data.training_data import TrainingData
from augrec.evaluation.event_metrics import auc
from augrec.evaluation.heads import evaluate_heads
from augrec.recommenders import mmoe
from augrec.recommenders._mmoe.features import Encoder, known_items
from augrec.recommenders._mmoe.outcomes import Outcomes
from augrec.recommenders._mmoe.prefix_sampling import PrefixSampler
from augrec.recommenders.base import Recommender, find, load

N_USERS, N_ITEMS = 160, 24
ITEMS = [f"i{item:02}" for item in range(N_ITEMS)]
QUICK: dict[str, Any] = {
    "factors": 16,
    "experts": 2,
    "hidden": 16,
    "batch_size": 64,
    "positives": 8,
    "negatives": 64,
    "steps": 120,
    "eval_every": 60,
    "learning_rate": 0.01,
    "dropout": 0.2,
}


def rows(seed: int = 0) -> pl.DataFrame:
    """Users with the feature taste 0 view even items, those with 1 odd ones, ten each; the rest is
    noise.

    Every second view of a low item becomes a purchase, and none of a high one. Views of i00 … i05
    are ratings, worth the item's number, and one more with users of taste 1.
    """
    random = np.random.default_rng(seed)
    taste = np.arange(N_USERS) % 2
    likes = np.where(np.arange(N_ITEMS) % 2 == taste[:, None], 0.7, 0.08)
    users, items = np.nonzero(random.random((N_USERS, N_ITEMS)) < likes)
    order = random.permutation(len(users))
    users, items = users[order], items[order]
    bought = (items < 16) & (random.random(len(users)) < 0.5)
    rated = items < 6
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in users],
            "item_id": [ITEMS[item] for item in items],
            "event": np.where(rated, "rating", np.where(bought, "purchase", "view")).tolist(),
            "value": np.where(rated, items + taste[users], np.nan),
            "timestamp": [start + timedelta(minutes=row) for row in range(len(users))],
            "user__taste": taste[users].astype(float),
            "user__noise": random.normal(size=len(users)),
            "item__price": items.astype(float),
            "item__flags": [[float(item % 2), float(item > 12)] for item in items],
        },
        schema_overrides={"value": pl.Float32, "timestamp": TIME},
    ).with_columns(pl.col("value").fill_nan(None))


def fit(
    table: pl.DataFrame | None = None, users: pl.DataFrame | None = None, **config: Any
) -> Recommender:
    return find("mmoe")(QUICK | config, seed=5).fit(
        TrainingData(rows() if table is None else table, users=users)
    )


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    return fit()


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def share_of_odd(fitted: Recommender, history: list[str], known: dict[str, Any] | None) -> float:
    """Among the ten first."""
    table = None if known is None else pl.DataFrame([known])
    items, _ = fitted.recommend(histories(history), 10, user_features=table)
    return float(np.mean([int(item[1:]) % 2 for item in items[0]]))


def predict(
    fitted: Any, lists: list[list[str]], known: pl.DataFrame | None = None
) -> dict[str, np.ndarray]:
    asked = Histories.from_lists(histories(*lists), fitted.items, user_features=known)
    return fitted.predict_events(asked, np.tile(np.arange(N_ITEMS), (len(lists), 1)))


def test_a_feature_that_decides_taste_is_found_for_a_user_without_a_history(fitted):
    assert share_of_odd(fitted, [], {"user__taste": 1.0}) >= 0.9
    assert share_of_odd(fitted, [], {"user__taste": 0.0}) <= 0.1


def test_a_text_attribute_that_decides_taste_is_found_too():
    users = pl.DataFrame({"user_id": [f"u{user:03}" for user in range(N_USERS)]}).with_columns(
        team=pl.Series(["red", "blue"] * (N_USERS // 2))
    )
    fitted = fit(rows().drop("user__taste"), users)
    assert share_of_odd(fitted, [], {"team": "blue"}) >= 0.9
    assert share_of_odd(fitted, [], {"team": "red"}) <= 0.1


def test_a_user_without_known_attributes_is_ranked_by_the_history_alone(fitted):
    assert share_of_odd(fitted, ["i01", "i03", "i05"], None) >= 0.9
    assert share_of_odd(fitted, ["i00", "i02", "i04"], None) <= 0.1


@pytest.mark.parametrize(
    "nothing", [None, {"user__taste": None}, {"user__taste": float("nan")}, {"other": 3}]
)
def test_where_nothing_is_known_the_order_is_that_of_popularity(fitted, nothing):
    known = (
        None
        if nothing is None
        else pl.DataFrame([nothing], schema_overrides={"user__taste": pl.Float64})
    )
    _, scores = fitted.recommend(histories([]), N_ITEMS, user_features=known)
    assert scores[0].tolist() == sorted(fitted.popularity.tolist(), reverse=True)


def test_the_only_item_of_a_history_carries_the_items_of_its_taste(fitted):
    why = fitted.explain(histories(["i01"]), np.array([["i03", "i04"]]))
    assert why.filter(pl.col("kind") == "item").select("item_id", "because").rows() == [
        ("i03", "i01")
    ]


def test_nan_infinity_null_and_an_absent_column_are_all_missing(fitted):
    there = {"user__taste": 1.0, "user__noise": 0.5}
    absent = fitted.recommend(
        histories(["i03"]), 9, user_features=pl.DataFrame([{"user__taste": 1.0}])
    )[1]
    for nothing in (None, float("nan"), float("inf")):
        known = pl.DataFrame(
            [there | {"user__noise": nothing}], schema_overrides={"user__noise": pl.Float64}
        )
        assert (fitted.recommend(histories(["i03"]), 9, user_features=known)[1] == absent).all()


def test_nan_in_training_features_does_no_harm():
    table = rows().with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(float("nan"))
        .otherwise(pl.col("user__taste"))
        .alias("user__taste"),
        item__price=pl.lit(float("nan")),
    )
    assert share_of_odd(fit(table), [], {"user__taste": 1.0}) >= 0.9


def test_there_is_a_head_for_each_event_and_one_for_the_value_of_ratings(fitted):
    assert [head.name for head in fitted.heads] == ["purchase", "rated", "rating", "view"]
    said = predict(fitted, [["i03"], []])
    assert {name: (table.shape, table.dtype.name) for name, table in said.items()} == dict.fromkeys(
        ("purchase", "rated", "rating", "view"), ((2, N_ITEMS), "float32")
    )
    assert all(
        ((table >= 0) & (table <= 1)).all() for name, table in said.items() if name != "rating"
    )
    assert fitted.describe()["heads"] == 4


def test_the_rating_head_recovers_the_ratings_of_items_and_users():
    fitted = fit(steps=300, eval_every=300)
    known = pl.DataFrame({"user__taste": [0.0, 1.0], "user__noise": [0.0, 0.0]})
    said = predict(fitted, [[], []], known)["rating"]
    for taste in (0, 1):
        own = np.arange(taste, 6, 2)  # of these there are many ratings
        np.testing.assert_allclose(said[taste, own], own + taste, atol=0.5)
    assert said.min() >= 0
    assert said.max() <= 6


def test_the_purchase_head_ranks_by_what_is_bought_and_the_view_head_by_what_is_only_viewed():
    fitted = fit(score_weights={"view": 0.0, "rated": 0.0, "rating": 0.0})
    known = pl.DataFrame({"user__taste": [1.0], "user__noise": [0.0]})
    bought, _ = fitted.recommend(histories([]), 4, user_features=known)
    assert all(6 <= int(item[1:]) < 16 for item in bought[0])
    viewing = fit(score_weights={"purchase": 0.0, "rated": 0.0, "rating": 0.0})
    viewed, _ = viewing.recommend(histories([]), 4, user_features=known)
    assert all(int(item[1:]) >= 16 for item in viewed[0])
    said = predict(fitted, [[]], known)
    assert said["purchase"][0, 7] > 0.5 > said["purchase"][0, 17]
    assert said["view"][0, 17] > said["view"][0, 7]


def followed(seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All begins with views; of i00 … i11 every second one becomes a purchase nine days later, and
    i00 … i05 are rated."""
    views = rows(seed).with_columns(event=pl.lit("view"), value=pl.lit(None, pl.Float32))
    number = pl.col("item_id").str.slice(1).cast(pl.Int64)
    further = [
        views.filter((number < 12) & (pl.int_range(pl.len()) % 2 == 0)).with_columns(
            event=pl.lit("purchase")
        ),
        views.filter(number < 6).with_columns(
            event=pl.lit("rating"), value=number.cast(pl.Float32)
        ),
    ]
    return views, pl.concat(further).with_columns(pl.col("timestamp") + timedelta(days=9))


def test_what_came_of_a_view_is_learnt_by_the_head_of_that_event():
    views, further = followed()
    assert [head.name for head in fit(views).heads] == ["view"]  # all that first meetings tell
    fitted: Any = fit(with_outcomes(views, further), steps=240)
    assert [head.name for head in fitted.heads] == ["purchase", "rated", "rating", "view"]
    known = pl.DataFrame({"user__taste": [1.0], "user__noise": [0.0]})
    said = {
        name: found[0, 1::2] for name, found in predict(fitted, [[]], known).items()
    }  # i01, i03, …
    assert said["purchase"][:6].min() > 0.5 > said["purchase"][6:].max()
    assert said["rated"][:3].min() > 0.5 > said["rated"][3:].max()
    assert said["view"].min() > 0.5
    np.testing.assert_allclose(said["rating"][:3], [1, 3, 5], atol=0.5)


def test_a_rare_event_moves_what_heads_share_as_rarely_as_it_happens():
    views, further = followed()
    outcomes = Outcomes.of(with_outcomes(views, further))
    shares = dict(
        zip(
            [head.name for head in outcomes.heads],
            outcomes.shares(np.ones(len(views))),
            strict=True,
        )
    )
    n = {
        name: (further["event"] == event).sum() / len(views)
        for name, event in (("purchase", "purchase"), ("rated", "rating"), ("rating", "rating"))
    }
    assert shares == pytest.approx(n | {"view": 1.0})
    only_bought = outcomes.shares(outcomes.happened[:, 0].astype(np.float32))
    assert only_bought[[0, 3]].tolist() == [1.0, 1.0]


def test_purchases_of_new_users_are_foreseen():
    views, further = followed()
    fitted: Any = fit(with_outcomes(views, further))
    views, further = followed(seed=1)
    cases = views.group_by("user_id", maintain_order=True).agg(
        history=pl.col("item_id").head(3), targets=pl.col("item_id").slice(3)
    )
    cases = cases.with_columns(slice=pl.lit("1-5"))
    _, overall = evaluate_heads(fitted, cases, pl.concat([views, further]), seed=1)
    assert overall["purchase"]["auc"] > 0.85
    assert overall["rating"]["rmse"] < 0.5
    said = predict(fitted, cases["history"].to_list())
    viewed = cases.with_row_index("user").select("user", pl.col("targets")).explode("targets")
    user, item = viewed["user"].to_numpy(), fitted.items.encode(viewed["targets"])
    one = np.ones(len(item)), np.zeros(len(item), int), 1
    among_viewed = {
        name: auc(item < 12, said[name][user, item], *one)[0] for name in ("purchase", "view")
    }
    assert among_viewed["purchase"] > 0.85
    assert 0.3 < among_viewed["view"] < 0.7


def test_a_head_for_probabilities_promises_the_odds_against_an_item_drawn_evenly():
    """Half of all users take the first of four items and nothing else, so it is drawn for the other
    half only: one time in three, in all one in six. That is odds of 3 to 1. The same count gives
    odds of 3 to 5 for each of the others."""
    random = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in range(4000)],
            "item_id": [
                ITEMS[item]
                for item in np.where(random.random(4000) < 0.5, 0, random.integers(1, 4, 4000))
            ],
        }
    )
    fitted: Any = fit(
        table, steps=200, learning_rate=0.003, positives=1, batch_size=512, negative_weight=3.0
    )
    said = fitted.predict_events(
        Histories.from_lists(histories([]), fitted.items), np.arange(4)[None]
    )
    np.testing.assert_allclose(said["interaction"][0], [0.75, 0.375, 0.375, 0.375], atol=0.05)


def test_heads_can_be_balanced_by_learnt_uncertainty():
    assert share_of_odd(fit(balance="uncertainty"), [], {"user__taste": 1.0}) >= 0.9


def test_what_a_head_says_does_not_depend_on_who_else_is_asked_about(fitted, monkeypatch):
    lists = [["i03"], [], ["i04", "i08"]]
    whole = predict(fitted, lists)
    monkeypatch.setattr(mmoe, "_CELLS", 1)
    for name, table in predict(fitted, lists).items():
        np.testing.assert_allclose(table, whole[name], rtol=1e-5)


def test_a_large_catalogue_is_embedded_in_parts(monkeypatch):
    fitted: Any = fit()  # its own: in parts the last bits come out otherwise
    asked = histories(["i03"], ["i04", "i08"])
    whole = fitted.recommend(asked, 5)[1]
    monkeypatch.setattr(mmoe, "_ITEMS_AT_ONCE", 5)
    fitted._settle()
    np.testing.assert_allclose(fitted.recommend(asked, 5)[1], whole, rtol=1e-5)


def test_a_loaded_model_predicts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = load(tmp_path / "model")
    known = pl.DataFrame({"user__taste": [1.0]})
    before, after = (predict(model, [["i02"]], known) for model in (fitted, again))
    assert all((before[name] == after[name]).all() for name in before)
    assert again.heads == fitted.heads


def test_training_that_continues_begins_with_the_weights_of_the_start(fitted):
    curve: list[dict[str, float]] = []
    cases = pl.DataFrame({"history": histories(["i01", "i03"]), "targets": histories(["i05"])})
    again = find("mmoe")(QUICK | {"steps": 1}, seed=9)
    again.fit(
        TrainingData(rows(1), cases=cases, previous=fitted, log=lambda row: curve.append(dict(row)))
    )
    assert [row["step"] for row in curve] == [0, 1]
    assert share_of_odd(again, [], {"user__taste": 1.0}) >= 0.9


def test_training_that_continues_keeps_heads_and_features_the_new_rows_do_not_speak_of(fitted):
    views = rows(1).filter((pl.col("event") == "view") & (pl.col("item_id") > "i10")).drop("value")
    again = find("mmoe")(QUICK | {"steps": 1}, seed=9)
    again.fit(
        TrainingData(
            pl.concat([views, views.head(1).with_columns(item_id=pl.lit("i02"), item__price=None)]),
            previous=fitted,
        )
    )
    assert again.heads == fitted.heads
    ids = again.items.ids.tolist()
    for name in ("numbers", "missing"):
        ours, theirs = getattr(again._known_items, name), getattr(fitted._known_items, name)
        assert (ours[ids.index("i11")] == theirs[11]).all()
        assert ours.shape == (len(ids), theirs.shape[1])
    cart = views.with_columns(event=pl.lit("cart"), value=pl.lit(None, pl.Float32))
    for strange in (cart, with_outcomes(views, cart)):
        with pytest.raises(InputError, match="no head for cart"):
            again.fit(TrainingData(strange, previous=fitted))


def test_items_without_features_take_those_of_the_model_that_goes_on():
    encoder = Encoder.fit(pl.DataFrame({"x": [0.0, 1.0, 2.0]}), max_values=9, min_rows=1)
    old = encoder.encode(pl.DataFrame({"x": [1.0, 2.0]}), 2)
    new = encoder.encode(pl.DataFrame({"x": [0.0, None, None]}), 3).filled(
        old, np.array([0, 1, -1])
    )
    assert new.numbers[1] == old.numbers[1]
    assert new.missing[:, 0].tolist() == [False, False, True]
    assert new.numbers[0] < old.numbers[0]


def test_training_that_diverges_is_refused():
    with pytest.raises(RefusedError, match=r"learning_rate"):
        fit(learning_rate=1e30, steps=20, eval_every=10)


@pytest.mark.parametrize("key", ["loss_weights", "score_weights"])
def test_weights_that_leave_no_head_are_refused(key):
    with pytest.raises(ConfigError, match=f"every head(.|\n)*{key}"):
        fit(**{key: dict.fromkeys(["purchase", "rated", "rating", "view"], 0.0)})


def test_numbers_are_standardised_by_the_training_rows_and_cut():
    table = pl.DataFrame({"x": [0.0, 1.0, 3.0, 7.0, None]})
    encoder = Encoder.fit(table, max_values=9, min_rows=1)
    encoded = encoder.encode(table, 5)
    logs = np.log1p([0.0, 1, 3, 7])
    np.testing.assert_allclose(encoded.numbers[:4, 0], (logs - logs.mean()) / logs.std(), rtol=1e-5)
    assert encoded.numbers[4, 0] == 0
    assert encoded.missing[:, 0].tolist() == [False] * 4 + [True]
    far = encoder.encode(pl.DataFrame({"x": [1e30, -1e30]}), 2)
    assert far.numbers[:, 0].tolist() == [5.0, -5.0]


def test_lists_are_cut_and_filled_to_the_longest_of_training():
    encoder = Encoder.fit(pl.DataFrame({"x": [[0.0, 1.0], [1.0, 0.0]]}), max_values=9, min_rows=1)
    encoded = encoder.encode(pl.DataFrame({"x": [[1.0, 1.0, 9.0], [1.0], [], None]}), 4)
    np.testing.assert_allclose(encoded.numbers, [[1, 1], [1, 0], [0, 0], [0, 0]], atol=1e-5)
    assert encoded.missing[:, 0].tolist() == [False, False, True, True]


def test_rare_and_unknown_texts_are_as_good_as_missing():
    texts = pl.DataFrame(
        {"x": ["a", "b", "b", "c", "c", "c", None], "y": ["1", "2", "3", "4", "5", "6", "7"]}
    )
    encoder = Encoder.fit(texts, max_values=1, min_rows=2)
    assert encoder.texts.tolist() == ["x"]
    encoded = encoder.encode(pl.DataFrame({"x": ["c", "b", "new", None]}), 4)
    assert encoded.codes[:, 0].tolist() == [1, 0, 0, 0]
    assert encoded.empty.tolist() == [False, True, True, True]


def test_columns_of_other_kinds_and_without_any_value_are_left_out():
    table = pl.DataFrame(
        {"when": [datetime(2024, 1, 1)], "none": [None], "nan": [float("nan")], "yes": [True]}
    )
    encoder = Encoder.fit(table, max_values=9, min_rows=1)
    assert encoder.numbers.tolist() == ["yes"]
    assert len(encoder.texts) == 0


def test_an_item_has_the_latest_features_that_are_there():
    table = pl.DataFrame(
        {
            "user_id": ["a", "b", "c"],
            "item_id": ["x", "x", "y"],
            "timestamp": [2, 1, 3],
            "item__price": [None, 4.0, None],
            "item__n": [7, 8, 9],
        }
    )
    found = known_items(table, np.array(["w", "x", "y"]))
    assert found.rows() == [(None, None), (4.0, 7), (None, 9)]


def test_a_moment_lies_between_what_was_read_and_what_is_wanted():
    table = rows().with_columns(observed=pl.int_range(pl.len()) % 3 != 0)
    index = ItemIndex(ITEMS)
    known = Histories.from_interactions(table, index)
    torch.manual_seed(0)
    moments = PrefixSampler(known, torch.device("cpu"))
    batch, asked = moments.draw(300, 4, truncate=0.5), torch.tensor([5, 0, 3])
    unmet = moments.unmet(batch.users, asked)
    met = known.matrix().toarray() > 0
    for place, (user, entry) in enumerate(
        zip(batch.users.tolist(), batch.entries.tolist(), strict=True)
    ):
        before = slice(known.indptr[user], entry)
        start, length = batch.history.starts[place], batch.history.lengths[place]
        assert (
            batch.history.items[start : start + length].tolist()
            == known.items[before][known.observed[before]].tolist()
        )
        assert (batch.later[place] >= entry).all()
        assert (batch.later[place] < known.indptr[user + 1]).all()
        assert (unmet[place].numpy() == ~met[user, asked]).all()


def test_what_weighs_nothing_is_read_and_never_wanted():
    old = pl.int_range(pl.len()) % 4 != 0  # at the end of histories, too
    table = rows().with_columns(weight=pl.when(old).then(0.0).otherwise(1.0).cast(pl.Float32))
    known = Histories.from_interactions(table, ItemIndex(ITEMS))
    torch.manual_seed(0)
    for truncate in (0.0, 1.0):
        batch = PrefixSampler(known, torch.device("cpu")).draw(500, 4, truncate=truncate)
        assert (known.weights[batch.later.numpy()] == 1).all()
        assert (batch.later >= batch.entries[:, None]).all()
        read = set(batch.history.items.tolist())
        assert read >= set(known.items[known.weights == 0].tolist()[:5])


def test_all_histories_can_be_truncated():
    known = Histories.from_interactions(rows(), ItemIndex(ITEMS))
    torch.manual_seed(0)
    moments = PrefixSampler(known, torch.device("cpu"))
    assert moments.draw(500, 1, truncate=1.0).history.lengths.unique().tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]
    assert moments.draw(500, 1, truncate=0.0).history.lengths.max() > 5
