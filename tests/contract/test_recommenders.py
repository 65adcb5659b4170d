"""What every recommender keeps; a new one is picked up by its file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.core.component import available
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import TIME
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import Recommender, find, load

NAMES = available("augrec.recommenders")
QUICK: dict[str, dict[str, Any]] = {
    "bpr": {"factors": 8, "batch_size": 32, "positives": 4, "steps": 30, "eval_every": 10},
    "cfgan": {"hidden": 16, "critic_hidden": 8, "noise": 4, "steps": 30, "eval_every": 10},
    "group_gan": {
        "groups": 2,
        "min_group_users": 1,
        "width": 8,
        "content_width": 8,
        "hidden": 8,
        "latent": 4,
        "critic_hidden": 4,
        "batch_size": 16,
        "steps": 30,
        "eval_every": 10,
    },
    "gru4rec": {"factors": 8, "hidden": 8, "batch_size": 16, "steps": 30, "eval_every": 10},
    "ials": {"factors": 8, "epochs": 4},
    "mmoe": {
        "factors": 8,
        "experts": 2,
        "hidden": 8,
        "batch_size": 32,
        "positives": 4,
        "negatives": 16,
        "steps": 30,
        "eval_every": 10,
    },
    "multvae": {"hidden": 16, "latent": 4, "steps": 30, "eval_every": 10},
    "sasrec": {
        "factors": 8,
        "blocks": 1,
        "heads": 1,
        "batch_size": 16,
        "steps": 30,
        "eval_every": 10,
    },
    "router": {
        "members": [{"popularity": {}}, {"demographics": {}}, {"item_knn": {}}, {"ease": {}}],
        "min_users": 2,
    },
    "recvae": {"hidden": 16, "latent": 4, "steps": 30, "eval_every": 10},
}
N_USERS, N_ITEMS = 60, 25
NO_HISTORY = {"popularity", "demographics"}
"""Recommenders whose lists do not depend on the history."""
PRIVATE = [name for name in NAMES if "membership_weight" in find(name).Config.model_fields]
ADVERSARIAL = [name for name in NAMES if "adversarial_epsilon" in find(name).Config.model_fields]
"""Those that can be trained against an adversary."""


def interactions(seed: int = 0, n_users: int = N_USERS, n_items: int = N_ITEMS) -> pl.DataFrame:
    """Users of two tastes, each with a favoured half of the catalogue."""
    random = np.random.default_rng(seed)
    shares = np.tile(1 / np.arange(1, n_items + 1), (n_users, 1))
    shares[: n_users // 2, ::2] *= 6
    shares[n_users // 2 :, 1::2] *= 6
    users, items = np.nonzero(random.random((n_users, n_items)) < np.minimum(0.9, shares))
    return table([f"u{user:03}" for user in users], [f"i{item:02}" for item in items])


def table(users: list[str], items: list[str], weights: list[float] | None = None) -> pl.DataFrame:
    """Canonical interactions, one a minute."""
    return pl.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "event": "click",
            "value": None,
            "timestamp": pl.Series(
                np.arange(len(users)) * 60_000_000, dtype=pl.Datetime("us")
            ).cast(TIME),
            "origin": "real",
            "weight": weights or [1.0] * len(users),
        },
        schema_overrides={
            "value": pl.Float32,
            "weight": pl.Float32,
            "user_id": pl.String,
            "item_id": pl.String,
        },
    )


def described(ids: list[str]) -> pl.DataFrame:
    """An items table: two kinds of items, in turn, and three series of titles."""
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [f"Part {place} of series {place % 3}" for place in range(len(ids))],
            "categories": [["even", "odd"][place % 2 :][:1] for place in range(len(ids))],
        }
    )


ITEMS = described([f"i{item:02}" for item in range(N_ITEMS)] + ["only", "x", "y", "z"])


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def cases() -> pl.DataFrame:
    lists = histories(["i00", "i02"], ["i01"], [], ["i03", "i05", "i07"])
    return pl.DataFrame(
        {
            "user_id": ["a", "b", "c", "d"],
            "slice": ["1-5", "1-5", "0", "1-5"],
            "history": lists,
            "targets": histories(["i04"], ["i03", "i05"], ["i00"], ["i01", "unknown"]),
        }
    )


def build(name: str, **config: Any) -> Recommender:
    return find(name)(QUICK.get(name, {}) | config, seed=7)


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest) -> Recommender:
    return build(request.param).fit(TrainingData(interactions(), cases=cases(), items=ITEMS))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def training() -> TrainingData:
    """Without cases, so that the last weights are kept, not the best ones."""
    return TrainingData(interactions(), items=ITEMS)


def scores_of(model: Recommender) -> np.ndarray:
    ids = histories(["i00", "i02"], ["i01"], ["i03", "i05", "i07"])
    return model.score(Histories.from_lists(ids, model.items))


def files(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def popularity_order(rows: pl.DataFrame) -> list[str]:
    counted = rows.group_by("item_id").agg(pl.col("weight").sum())
    return counted.sort(["weight", "item_id"], descending=[True, False])["item_id"].to_list()


def test_the_house_has_its_three_first_recommenders():
    assert {"popularity", "ease", "multvae"} <= set(NAMES)


def test_a_user_the_model_never_saw_gets_recommendations(fitted):
    items, scores = fitted.recommend(histories(["i00", "i02", "i04"]), 5)
    assert items.shape == scores.shape == (1, 5)
    assert len(set(items[0])) == 5
    assert np.isfinite(scores).all()
    assert scores.dtype == np.float32


def test_scores_fall_from_the_first_place_to_the_last(fitted):
    _, scores = fitted.recommend(histories(["i00"], ["i01", "i03"], []), 10)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_seen_items_are_left_out_unless_asked_for(fitted):
    seen = ["i00", "i01", "i02"]
    items, _ = fitted.recommend(histories(seen), N_ITEMS)
    assert set(items[0]) & set(seen) == set()
    items, _ = fitted.recommend(histories(seen), N_ITEMS, exclude_seen=False)
    assert set(seen) <= set(items[0])


def test_more_places_than_items_are_filled_as_far_as_possible(fitted):
    items, scores = fitted.recommend(histories(["i00", "i01"], []), 1000)
    assert items.shape == (2, N_ITEMS)
    assert list(items[0, -2:]) == ["", ""]
    assert np.isneginf(scores[0, -2:]).all()
    assert np.isfinite(scores[0, :-2]).all()
    assert "" not in items[1]


def test_a_user_who_has_seen_everything_gets_empty_places(fitted):
    items, scores = fitted.recommend(histories([f"i{item:02}" for item in range(N_ITEMS)]), 4)
    assert (items == "").all()
    assert np.isneginf(scores).all()


def test_no_histories_give_no_lists(fitted):
    items, scores = fitted.recommend(histories(), 5)
    assert items.shape == scores.shape == (0, 5)


def test_only_what_is_asked_for_is_recommended(fitted):
    among = np.zeros(N_ITEMS, np.bool_)
    among[[1, 4, 9]] = True
    items, scores = fitted.recommend(histories(["i04"], []), 4, among=among)
    assert [set(row) for row in items] == [{"i01", "i09", ""}, {"i01", "i04", "i09", ""}]
    assert np.isneginf(scores[items == ""]).all()


def test_what_is_known_of_users_comes_a_row_for_each_history(fitted):
    known = pl.DataFrame({"age": [30, None], "user__interactions_7d": [0, 3]})
    items, _ = fitted.recommend(histories([], ["i03"]), 5, user_features=known)
    assert items.shape == (2, 5)
    with pytest.raises(InputError, match="there are 2 histories, but attributes of 1 users"):
        fitted.recommend(histories([], ["i03"]), 5, user_features=known.head(1))


def test_a_recommendation_is_explained_by_the_history_a_taste_group_or_popularity(fitted):
    asked = histories(["i00", "i02", "new"], [], ["i05", "i05", "i03"])
    items, _ = fitted.recommend(asked, 4)
    why = fitted.explain(asked, items, top=2)
    assert why.schema == {
        "row": pl.UInt32,
        "item_id": pl.String,
        "kind": pl.String,
        "because": pl.String,
        "contribution": pl.Float32,
    }
    assert (why["contribution"] > 0).all()
    assert why.group_by("row", "item_id", "kind").len()["len"].max() <= 2
    assert not why.select("row", "item_id", "kind", "because").is_duplicated().any()
    for row, item, kind, because in why.drop("contribution").iter_rows():
        assert item in items[row]
        assert (
            because in asked[row].to_list()
            if kind == "item"
            else (kind, because) == ("popularity", None)
            or (kind == "attribute" and because.startswith("people who like "))
        )
    assert set(why.filter(pl.col("row") == 1)["item_id"]) == set(items[1])  # the most popular ones
    assert ("item" in why["kind"]) == (fitted.name() not in NO_HISTORY)


def test_empty_histories_are_explained_by_popularity_and_empty_lists_by_nothing(fitted):
    items, scores = fitted.recommend(histories([], []), 3)
    why = fitted.explain(histories([], []), items)
    assert why["kind"].to_list() == ["popularity"] * 6
    np.testing.assert_allclose(why["contribution"], scores.ravel())
    for asked, none in (
        (histories(), (0, 3)),
        (histories(["i00"], []), (2, 0)),
        (histories(["i00"]), (1, 2)),
    ):
        assert fitted.explain(asked, np.full(none, "", dtype=str)).is_empty()


def of_two_tastes(n_users: int = 80, n_items: int = 24) -> pl.DataFrame:
    """Users who take most items of an even number and hardly another, and the other way round."""
    even = np.arange(n_items) % 2 == 0
    likes = np.where(np.arange(n_users)[:, None] % 2 == even, 0.6, 0.04)
    users, items = np.nonzero(np.random.default_rng(3).random((n_users, n_items)) < likes)
    return table([f"u{user:03}" for user in users], [f"i{item:02}" for item in items])


@pytest.mark.parametrize("name", sorted(set(NAMES) - NO_HISTORY))
def test_an_explanation_names_history_items_of_the_recommended_items_kind(name):
    longer = {"steps": 200} if "steps" in QUICK.get(name, {}) else {}
    if "ahead" in find(name).Config.model_fields:
        longer["ahead"] = 30  # these tastes show in all of a history, not in what follows what
    fitted = build(name, **longer).fit(TrainingData(of_two_tastes(), items=ITEMS))
    items = np.array([[f"i{item:02}" for item in range(8, 24)]])
    why = fitted.explain(histories(["i02", "i03"]), items, top=1).filter(pl.col("kind") == "item")
    even, because = (
        why[column].str.slice(1).cast(pl.Int32) % 2 for column in ("item_id", "because")
    )
    assert len(why) >= 0.8 * items.size
    assert (even == because).mean() >= 0.75  # of who guessed: 0.5


BY_LEAVING_OUT = ["bpr", "cfgan", "group_gan", "gru4rec", "mmoe", "multvae", "recvae", "sasrec"]


@pytest.mark.parametrize("name", BY_LEAVING_OUT)
def test_what_a_network_owes_to_an_item_is_what_its_score_loses_without_it(name):
    fitted = build(name).fit(TrainingData(interactions()))
    history, targets = ["i00", "i03", "i05"], np.array([[4, 7, 9]])
    scores = [
        fitted._scores(Histories.from_lists(histories(kept), fitted.items))[0, targets[0]]
        for kept in (history, ["i03", "i05"], ["i00", "i05"], ["i00", "i03"])
    ]
    told = fitted.contributions(Histories.from_lists(histories(history), fitted.items), targets)
    np.testing.assert_allclose(told, scores[0] - np.stack(scores[1:]), atol=1e-5)
    assert np.abs(told).max() > 1e-4


def test_vectors_order_the_items_as_the_scores_do(fitted):
    encoded = Histories.from_lists(
        histories(["i00", "i02"], ["i01"], ["i03", "i05", "i07"]), fitted.items
    )
    vectors = fitted.item_factors()
    if vectors is None:
        with pytest.raises(InputError, match="no products"):
            fitted.user_factors(encoded)
        return
    products, scores = fitted.user_factors(encoded) @ vectors.T, fitted.score(encoded)
    assert products.dtype == np.float32 and products.shape == scores.shape
    for product, score in zip(products, scores, strict=True):
        order = np.argsort(score)
        assert (np.diff(product[order]) >= -1e-5 * np.ptp(product)).all()


def test_fitting_from_a_model_of_another_kind_is_refused(name):
    other = build("popularity" if name != "popularity" else "ease").fit(
        TrainingData(interactions(), items=ITEMS)
    )
    with pytest.raises(InputError, match="cannot start from"):
        build(name).fit(TrainingData(interactions(), items=ITEMS, previous=other))


def test_an_empty_or_unknown_history_gives_the_order_of_popularity(name):
    rows = interactions().with_columns(
        pl.Series("weight", np.linspace(0.5, 2, len(interactions())), dtype=pl.Float32)
    )
    fitted = build(name).fit(TrainingData(rows, items=ITEMS))
    items, _ = fitted.recommend(histories([], ["no such item"], ["nor this", "nor that"]), N_ITEMS)
    expected = popularity_order(rows)
    for row in items:
        assert row.tolist() == expected


def test_unknown_items_in_a_history_change_nothing(fitted):
    plain, _ = fitted.recommend(histories(["i03", "i05"]), 10)
    mixed, _ = fitted.recommend(histories(["new", "i03", "newer", "i05"]), 10)
    assert (plain == mixed).all()


def test_an_item_in_a_history_twice_counts_once(fitted):
    once, scores_once = fitted.recommend(histories(["i03"]), 10)
    twice, scores_twice = fitted.recommend(histories(["i03", "i03"]), 10)
    assert (once == twice).all()
    assert (scores_once == scores_twice).all()


def test_the_size_of_a_batch_changes_nothing(fitted):
    asked = histories(
        *[[f"i{item:02}" for item in range(start, start + start % 4)] for start in range(20)]
    )
    one, scores_one = fitted.recommend(asked, 8, batch_size=1)
    all_, scores_all = fitted.recommend(asked, 8, batch_size=512)
    assert (one == all_).all()
    np.testing.assert_allclose(scores_one, scores_all, rtol=1e-4, atol=1e-6)


def test_a_saved_model_is_loaded_with_the_same_scores_and_saved_again_with_the_same_bytes(
    fitted, tmp_path
):
    fitted.save(tmp_path / "first")
    loaded = load(tmp_path / "first")
    asked = histories(["i00", "i02"], [], ["i07"])
    for before, after in zip(fitted.recommend(asked, 10), loaded.recommend(asked, 10), strict=True):
        assert (before == after).all()
    loaded.save(tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert loaded.describe() == fitted.describe()


def test_nothing_on_disk_needs_unpickling(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    found = files(tmp_path / "model")
    assert {Path(file).suffix for file in found} <= {".json", ".safetensors", ".parquet"}
    # the first bytes of safetensors are a length, and may be any; loading reads them as nothing
    # else
    others = [content for name, content in found.items() if not name.endswith(".safetensors")]
    assert not any(
        content.startswith(b"\x80") or b"PK\x03\x04" in content[:8] for content in others
    )
    json.loads(found["component.json"])


def test_the_same_seed_gives_the_same_bytes_and_the_same_curve(name, tmp_path):
    curves: list[list[dict[str, float]]] = [[], []]
    for attempt in (0, 1):
        build(name).fit(
            TrainingData(
                interactions(),
                cases=cases(),
                log=lambda row, a=attempt: curves[a].append(dict(row)),
                items=ITEMS,
            )
        )
        build(name).fit(TrainingData(interactions(), cases=cases(), items=ITEMS)).save(
            tmp_path / str(attempt)
        )
    assert files(tmp_path / "0") == files(tmp_path / "1")
    assert curves[0] == curves[1]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_an_adversary_that_moves_nothing_or_counts_nothing_changes_no_byte(name):
    off = ({}, {"adversarial_epsilon": 0.0, "adversarial_weight": 2.0, "adversarial_from": 0.0})
    off += ({"adversarial_epsilon": 0.5, "adversarial_weight": 0.0, "adversarial_from": 0.0},)
    plain, *others = (scores_of(build(name, **keys).fit(training())) for keys in off)
    for other in others:
        assert plain.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", PRIVATE)
def test_training_against_a_membership_attack_changes_no_byte_where_it_counts_nothing(name):
    plain, off, on, again = (
        scores_of(build(name, **keys).fit(training()))
        for keys in (
            {},
            {"membership_weight": 0.0, "membership_reference": 0.5},
            {"membership_weight": 1.0},
            {"membership_weight": 1.0},
        )
    )
    assert plain.tobytes() == off.tobytes() != on.tobytes() == again.tobytes()
    assert np.isfinite(on).all()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_each_adversary_changes_the_model_in_its_own_way(name):
    keys = {"adversarial_epsilon": 0.5, "adversarial_from": 0.2}
    methods = ("fast", "projected", "virtual", "random")
    found = [scores_of(build(name).fit(training()))]
    found += [
        scores_of(build(name, adversarial_method=method, **keys).fit(training()))
        for method in methods
    ]
    assert all(np.isfinite(scores).all() for scores in found)
    assert len({scores.tobytes() for scores in found}) == 1 + len(methods)


def test_what_says_that_it_draws_nothing_is_the_same_from_another_seed(name):
    kind, rows = find(name), interactions()
    states = [
        kind(QUICK.get(name, {}), seed=seed).fit(TrainingData(rows, items=ITEMS))._state()
        for seed in (7, 8)
    ]
    same = all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
    assert same or kind.draws


def test_the_order_of_the_rows_does_not_matter(name, tmp_path):
    rows = interactions()
    build(name).fit(TrainingData(rows, items=ITEMS)).save(tmp_path / "sorted")
    build(name).fit(TrainingData(rows.sample(fraction=1, shuffle=True, seed=3), items=ITEMS)).save(
        tmp_path / "shuffled"
    )
    first, second = load(tmp_path / "sorted"), load(tmp_path / "shuffled")
    asked = histories(["i00", "i02"], ["i01"])
    np.testing.assert_allclose(
        first.recommend(asked, 10)[1], second.recommend(asked, 10)[1], rtol=1e-5
    )


def test_a_row_of_weight_zero_counts_as_absent(name, tmp_path):
    rows = interactions()
    ghosts = interactions(seed=1).with_columns(
        pl.col("user_id") + "-ghost",
        pl.col("item_id").str.replace("i", "ghost"),
        weight=pl.lit(0.0, pl.Float32),
    )
    build(name).fit(TrainingData(rows, items=ITEMS)).save(tmp_path / "without")
    build(name).fit(TrainingData(pl.concat([rows, ghosts]), items=ITEMS)).save(tmp_path / "with")
    assert files(tmp_path / "without") == files(tmp_path / "with")


def test_weights_matter(name):
    rows = interactions()
    odd = rows.with_columns(
        weight=pl.when(pl.col("item_id").str.slice(1).cast(pl.Int32) % 2 == 1)
        .then(20.0)
        .otherwise(1.0)
        .cast(pl.Float32)
    )
    asked = histories(["i00", "i01"])
    assert not np.allclose(
        build(name).fit(TrainingData(rows, items=ITEMS)).recommend(asked, 10)[1],
        build(name).fit(TrainingData(odd, items=ITEMS)).recommend(asked, 10)[1],
    )


@pytest.mark.parametrize("exact", ["popularity", "ease", "item_knn", "ials"])
def test_a_user_of_weight_two_counts_as_two_users(exact):
    rows = interactions()
    chosen = pl.col("user_id") < "u020"
    heavy = rows.with_columns(weight=pl.when(chosen).then(2.0).otherwise(1.0).cast(pl.Float32))
    twice = pl.concat([rows, rows.filter(chosen).with_columns(pl.col("user_id") + "-twin")])
    asked = histories(["i00", "i02"], ["i01"], [])
    settings = build(exact).settle(TrainingData(rows).shape)
    first, second = (
        build(exact, **settings).fit(TrainingData(data, items=ITEMS)).recommend(asked, N_ITEMS)
        for data in (heavy, twice)
    )
    assert (first[0] == second[0]).all()
    np.testing.assert_allclose(first[1], second[1], rtol=1e-4)


def test_a_catalogue_of_one_item_is_enough(name):
    fitted = build(name).fit(
        TrainingData(table(["a", "b"], ["only", "only"]), cases=cases(), items=ITEMS)
    )
    items, _ = fitted.recommend(histories([], ["only"], ["other"]), 3)
    assert items.tolist() == [["only"], [""], ["only"]]


def test_a_single_user_is_enough(name):
    fitted = build(name).fit(TrainingData(table(["a", "a"], ["x", "y"]), items=ITEMS))
    items, scores = fitted.recommend(histories(["x"]), 2)
    assert items.tolist() == [["y", ""]]
    assert np.isfinite(scores[0, 0])


def test_items_equally_liked_come_in_order_of_their_ids(name):
    fitted = build(name).fit(TrainingData(table(["a", "b", "c"], ["z", "x", "y"]), items=ITEMS))
    items, _ = fitted.recommend(histories([]), 3)
    assert items.tolist() == [["x", "y", "z"]]


def test_entries_that_are_targets_only_still_count_as_popular(name):
    rows = interactions().with_columns(observed=pl.col("item_id") != "i04")
    fitted = build(name).fit(TrainingData(rows, cases=cases(), items=ITEMS))
    items, scores = fitted.recommend(histories(["i00"], []), N_ITEMS)
    assert "i04" in items[0]
    assert items[1].tolist() == popularity_order(rows)
    assert np.isfinite(scores[0, :-1]).all()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), None])
def test_an_impossible_weight_is_refused(name, weight):
    rows = interactions().with_columns(weight=pl.lit(weight, pl.Float32))
    with pytest.raises(InputError, match="weights"):
        build(name).fit(TrainingData(rows, items=ITEMS))


def test_no_rows_are_refused(name):
    with pytest.raises(InputError, match="nothing to learn"):
        build(name).fit(TrainingData(interactions().clear(), items=ITEMS))
    with pytest.raises(InputError, match="nothing to learn"):
        build(name).fit(
            TrainingData(interactions().with_columns(weight=pl.lit(0.0, pl.Float32)), items=ITEMS)
        )


def test_asking_for_no_recommendations_is_refused(fitted):
    with pytest.raises(InputError, match="0 recommendations"):
        fitted.recommend(histories(["i00"]), 0)


def test_a_missing_column_is_named(name):
    with pytest.raises(InputError, match="item_id"):
        build(name).fit(TrainingData(interactions().drop("item_id"), items=ITEMS))


def test_an_unknown_option_is_refused(name):
    with pytest.raises(ConfigError, match="no_such_option"):
        find(name)({"no_such_option": 1})


def with_gaps(nothing: float | None) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Interactions with features of users and items, users with attributes, and cases; every third
    value is `nothing`."""

    def told(table: pl.DataFrame, *names: str) -> pl.DataFrame:
        values = pl.Series(
            [nothing if row % 3 == 0 else row % 7 + 0.5 for row in range(len(table))]
        )
        return table.with_columns(values.cast(pl.Float64).alias(name) for name in names)

    rows = told(interactions(), "user__days_active", "item__price")
    users = told(rows.select("user_id").unique().sort("user_id"), "age", "income")
    return rows, users, told(cases(), "age", "income", "user__days_active")


def test_nan_in_what_is_known_counts_as_missing(name, tmp_path):
    """In features and attributes, in training and when asked; for those that use none of it nothing
    may change either."""
    asked, found = histories(["i00", "i02"], [], ["i03"], ["i05"]), []
    for kind, nothing in (("nan", float("nan")), ("null", None)):
        rows, users, judged = with_gaps(nothing)
        fitted = build(name).fit(TrainingData(rows, cases=judged, items=ITEMS, users=users))
        fitted.save(tmp_path / kind)
        known = judged.select("age", "income", "user__days_active")
        found.append(fitted.recommend(asked, 10, user_features=known))
        nothing_known = known.with_columns(
            pl.lit(nothing, pl.Float64).alias(column) for column in known.columns
        )
        found.append(fitted.recommend(asked, 10, user_features=nothing_known))
    assert files(tmp_path / "nan") == files(tmp_path / "null")
    for of_nan, of_null in zip(found[:2], found[2:], strict=True):
        assert np.isfinite(of_nan[1]).all()
        assert (of_nan[0] == of_null[0]).all() and (of_nan[1] == of_null[1]).all()


def indifferent(fitted: Recommender) -> Recommender:
    """The same model, or the same members of a mixture, with all that was learnt set to 0 and all
    items equally popular."""
    state = fitted._state()
    learnt = [key for key in state if key.startswith("member.")] or list(state)
    for key in ["popularity", *learnt]:
        if key.endswith("popularity"):
            state[key] = np.full_like(state[key], 1 / len(state[key]))
        elif state[key].dtype.kind == "f" and state[key].size > 1:
            state[key] = np.zeros_like(state[key])
    blank = type(fitted)(fitted.config, seed=fitted.seed)
    blank._restore(state)
    return blank


def test_items_of_equal_score_come_in_order_of_their_ids_whatever_the_history(fitted):
    asked = histories(["i00", "i02"], ["i05"], ["i24", "new"], [])
    ids = [f"i{item:02}" for item in range(N_ITEMS)]
    blank = indifferent(fitted)
    items, scores = blank.recommend(asked, 8)
    for history, row, given in zip(asked.to_list(), items.tolist(), scores, strict=True):
        assert row == [item for item in ids if item not in history][:8]
        assert np.isfinite(given).all() and len(set(given.tolist())) == 1
    everything, _ = blank.recommend(asked, N_ITEMS, exclude_seen=False)
    unmet = [
        [item for item in row if item not in history]
        for row, history in zip(everything, asked, strict=True)
    ]
    assert unmet == [[item for item in ids if item not in history] for history in asked.to_list()]
