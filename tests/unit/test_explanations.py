"""Explanations: what the items of a history carry, what is known of the user and popularity make up
the score."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders._explain import POPULAR
from augrec.recommenders.base import Recommender, find

N_USERS, N_ITEMS = 60, 20
IDS = [f"i{item:02}" for item in range(N_ITEMS)]
LINEAR = {
    "ease": {"l2": 5.0},
    "item_knn": {"neighbours": 7},
    "ials": {"factors": 6, "unobserved_weight": 0.2},
    "content": {"min_items": 1},
}


def interactions() -> pl.DataFrame:
    users, items = np.nonzero(np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.3)
    return pl.DataFrame(
        {"user_id": [f"u{user:02}" for user in users], "item_id": [IDS[item] for item in items]}
    )


ITEMS = pl.DataFrame(
    {
        "item_id": IDS,
        "title": [f"part {place % 4} of series {place % 7}" for place in range(N_ITEMS)],
        "categories": [[f"kind {place % 3}"] for place in range(N_ITEMS)],
    }
)


def fit(name: str, **config: object) -> Recommender:
    return find(name)(LINEAR.get(name, {}) | config, seed=1).fit(
        TrainingData(interactions(), items=ITEMS)
    )


def asked(fitted: Recommender, *lists: list[str]) -> tuple[Histories, np.ndarray]:
    """Histories, and every item as the target of each."""
    known = Histories.from_lists(pl.Series(list(lists), dtype=pl.List(pl.String)), fitted.items)
    return known, np.tile(np.arange(len(fitted.items)), (len(known), 1))


def summed(histories: Histories, shares: np.ndarray) -> np.ndarray:
    """Over the items of each history, (n, m)."""
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    table = np.zeros((len(histories), shares.shape[1]))
    np.add.at(table, user, shares)
    return table


@pytest.mark.parametrize("name", LINEAR)
def test_contributions_and_popularity_make_up_the_score(name):
    fitted = fit(name, popularity_blend=3.0)
    histories, targets = asked(fitted, ["i01", "i05", "i09"], ["i02"], [], ["i04", "i03"])
    shares, popular = (
        fitted.contributions(histories, targets),
        fitted.background(histories, targets),
    )
    assert shares.shape == (6, N_ITEMS)
    assert list(popular) == [POPULAR]
    np.testing.assert_allclose(
        summed(histories, shares) + popular[POPULAR], fitted.score(histories), rtol=1e-4, atol=1e-5
    )
    assert np.abs(shares).max() > 0.01


@pytest.mark.parametrize("name", LINEAR)
def test_places_without_a_target_do_not_matter(name):
    fitted = fit(name)
    histories, targets = asked(fitted, ["i01", "i05"], ["i02"])
    some = targets[:, :4].copy()
    some[0, 1] = -1
    found = fitted.contributions(histories, some)
    expected = fitted.contributions(histories, targets)[:, :4]
    np.testing.assert_allclose(found[:, [0, 2, 3]], expected[:, [0, 2, 3]], rtol=1e-5, atol=1e-7)


def test_the_strongest_reason_of_ease_is_the_item_of_the_largest_weight():
    fitted = fit("ease")
    history = pl.Series([["i01", "i05", "i09", "i12"]])
    items, _ = fitted.recommend(history, 3)
    why = fitted.explain(history, items, top=1)
    weights = fitted._model_state()["weights"]
    why = why.filter(pl.col("kind") == "item")
    assert why["item_id"].to_list() == items[0].tolist()
    for item, because in why.select("item_id", "because").iter_rows():
        given = [1, 5, 9, 12]
        assert because == IDS[given[int(weights[given, IDS.index(item)].argmax())]]


def router(*members: str, weights: list[float]) -> Recommender:
    """Every user is served by the same mix."""
    fitted = fit("router", members=[{name: LINEAR[name]} for name in members])
    fitted._routes.weights = np.tile(weights, (4, 1))
    return fitted


def test_a_router_gives_the_reasons_of_the_member_that_serves():
    fitted, ease = router("item_knn", "ease", weights=[0.0, 1.0]), fit("ease")
    histories, targets = asked(fitted, ["i01", "i05", "i09"], [])
    assert (
        fitted.contributions(histories, targets) == ease.contributions(histories, targets)
    ).all()


def test_a_blend_with_neighbours_explains_nothing_to_a_user_without_a_history():
    fitted = router("item_knn", "ease", weights=[0.25, 0.75])
    asked = pl.Series([[], ["i01"]], dtype=pl.List(pl.String))
    items, _ = fitted.recommend(asked, 1)
    why = fitted.explain(asked, items)
    assert why.filter(pl.col("row") == 0)["kind"].to_list() == ["popularity"]
    assert why.filter(pl.col("row") == 1, pl.col("kind") == "item")["because"].to_list() == ["i01"]


def test_a_blend_gives_the_reasons_of_both_as_they_are_weighted():
    fitted = router("item_knn", "ease", weights=[0.25, 0.75])
    histories, targets = asked(fitted, ["i01", "i05", "i09"], ["i07"])
    user = np.repeat(np.arange(2), histories.lengths)
    expected = np.zeros((4, N_ITEMS))
    for name, weight in (("item_knn", 0.25), ("ease", 0.75)):
        alone = fit(name)
        spread = alone.score(histories).std(axis=1)
        expected += weight * alone.contributions(histories, targets) / spread[user, None]
    np.testing.assert_allclose(
        fitted.contributions(histories, targets), expected, rtol=1e-4, atol=1e-6
    )


TOWNS = ["north", "south"]
TAKEN = pl.DataFrame(
    [
        (f"u{user:02}", IDS[item])
        for user in range(40)
        for item in [0, *range(1 + user % 2, N_ITEMS, 2)][: 4 + user % 7]
    ],
    schema=["user_id", "item_id"],
    orient="row",
)
PEOPLE = pl.DataFrame({"user_id": [f"u{user:02}" for user in range(40)]}).with_columns(
    town=pl.Series([TOWNS[user % 2] for user in range(40)]),
    mood=pl.Series(["a", "a", "b", "b"] * 10),
)
KNOWN = pl.DataFrame({"town": ["south", None, "south"], "mood": ["a", None, None]})
NETWORK = {
    "factors": 8,
    "experts": 2,
    "hidden": 8,
    "batch_size": 32,
    "positives": 4,
    "negatives": 16,
    "steps": 80,
}
OF_TOWNS = {
    "demographics": {"l2": 5.0},
    "popularity": {"group_by": "town", "group_shrinkage": 5.0},
    "mmoe": {**NETWORK, "eval_every": 20},
}


def of_towns(name: str) -> Recommender:
    """A model of users all of whom take i00, and else what those of their town do."""
    return find(name)(OF_TOWNS[name], seed=1).fit(TrainingData(TAKEN, users=PEOPLE))


@pytest.mark.parametrize("name", OF_TOWNS)
def test_an_attribute_that_decides_is_the_reason_and_nothing_else_is_made_one(name):
    fitted = of_towns(name)
    empty = pl.Series([[]] * 3, dtype=pl.List(pl.String))
    why = fitted.explain(empty, np.array([["i02", "i01"]] * 3), user_features=KNOWN, top=1)
    told = {(row, item): set() for row in range(3) for item in ("i02", "i01")}
    for row, item, kind, because in why.drop("contribution").iter_rows():
        told[row, item].add((kind, because))
    assert ("attribute", "town") in told[0, "i02"] & told[2, "i02"]
    assert ("attribute", "town") not in told[0, "i01"] | told[2, "i01"]
    assert told[1, "i01"] == told[1, "i02"] == {("popularity", None)}


@pytest.mark.parametrize("name", ["demographics", "popularity"])
def test_popularity_and_attributes_make_up_the_score(name):
    fitted = of_towns(name)
    histories = Histories.from_lists(
        pl.Series([["i01"], [], []]), fitted.items, user_features=KNOWN
    )
    targets = np.tile(np.arange(len(fitted.items)), (3, 1))
    parts = fitted.background(histories, targets)
    np.testing.assert_allclose(sum(parts.values()), fitted.score(histories), rtol=1e-4, atol=1e-6)
    assert not fitted.contributions(histories, targets).any()


def test_a_router_weighs_its_members_explanations_for_users_without_a_history():
    members = [{"popularity": {}}, {"demographics": OF_TOWNS["demographics"]}]
    fitted = find("router")({"members": members}).fit(TrainingData(TAKEN, users=PEOPLE))
    fitted._routes.weights[:] = [0.25, 0.75]
    histories = Histories.from_lists(
        pl.Series([[]], dtype=pl.List(pl.String)), fitted.items, user_features=KNOWN[:1]
    )
    targets = np.arange(len(fitted.items))[None]
    parts = fitted.background(histories, targets)
    assert set(parts) == {POPULAR, "town", "mood"}
    scores = fitted.score(histories)
    assert np.ptp(sum(parts.values()) - scores) == pytest.approx(
        0, abs=1e-4
    )  # but for the mean it is the score


def test_a_new_item_is_there_because_of_what_is_described_like_it():
    new = pl.DataFrame(
        {
            "item_id": ["new1", "new2"],
            "title": ["part 9", "part 9"],
            "categories": [["kind 1"], ["kind 2"]],
        }
    )
    members = [{"ease": {}}, {"content": {"max_new_items": 5, "min_items": 1}}]
    config = {"members": members, "new_item_shares": [0.2]}
    fitted = find("router")(config).fit(TrainingData(interactions(), items=pl.concat([ITEMS, new])))
    asked = pl.Series([["i00", "i01"]])
    items, _ = fitted.recommend(asked, 10)
    assert "new1" in items[0] and fitted.choices()["slices"]["1-5"]["new_items_by"] == "content"
    why = fitted.explain(asked, np.array([["new1", "i05"]]), top=1)
    of_new = why.filter(pl.col("item_id") == "new1")
    assert of_new.select("kind", "because").rows() == [("item", "i01")]
    expected = fit("ease").explain(asked, np.array([["i05"]]), top=1)
    assert (
        why.filter(pl.col("item_id") == "i05")
        .drop("contribution")
        .equals(expected.drop("contribution"))
    )


def test_an_item_that_nothing_carried_is_called_popular_only_if_it_is():
    rare = pl.DataFrame({"user_id": ["u00"], "item_id": ["rare"]})
    fitted: Any = find("multvae")({"hidden": 8, "latent": 2, "steps": 5, "eval_every": 5}).fit(
        TrainingData(pl.concat([TAKEN, rare]))
    )
    indifferent = {name: np.zeros_like(array) for name, array in fitted._model_state().items()}
    fitted._restore_model(indifferent)
    why = fitted.explain(pl.Series([["i03"]]), np.array([["i00", "rare", "unheard of", ""]]))
    assert why.select("item_id", "kind", "because").rows() == [("i00", "popularity", None)]
    assert why["contribution"][0] == fitted.popularity[fitted.items.ids.tolist().index("i00")]
