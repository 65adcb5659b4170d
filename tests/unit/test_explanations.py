"""Exact explanations: what the items of a history carry, and popularity's part, make up the score."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.data.histories import Histories
from augrec.recommenders._blend import popularity_share
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
    return find(name)(LINEAR.get(name, {}) | config, seed=1).fit(interactions(), items=ITEMS)


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
    shares = fitted.contributions(histories, targets)
    assert shares.shape == (6, N_ITEMS)
    popular = popularity_share(fitted.popularity, histories.lengths, 3.0)
    np.testing.assert_allclose(
        summed(histories, shares) + popular, fitted._scores(histories), rtol=1e-4, atol=1e-5
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
    for item, because in why.select("item_id", "because").iter_rows():
        given = [1, 5, 9, 12]
        assert because == IDS[given[int(weights[given, IDS.index(item)].argmax())]]


def router(*members: str, weights: list[float]) -> Recommender:
    """Every user is served by the same mix."""
    fitted = fit("router", members=[{name: LINEAR[name]} for name in members])
    fitted._weights = np.tile(weights, (4, 1))
    return fitted


def test_a_router_gives_the_reasons_of_the_member_that_serves():
    fitted, ease = router("item_knn", "ease", weights=[0.0, 1.0]), fit("ease")
    histories, targets = asked(fitted, ["i01", "i05", "i09"], [])
    assert (fitted.contributions(histories, targets) == ease.contributions(histories, targets)).all()


def test_a_blend_gives_the_reasons_of_both_as_they_are_weighted():
    fitted = router("item_knn", "ease", weights=[0.25, 0.75])
    histories, targets = asked(fitted, ["i01", "i05", "i09"], ["i07"])
    user = np.repeat(np.arange(2), histories.lengths)
    expected = np.zeros((4, N_ITEMS))
    for name, weight in (("item_knn", 0.25), ("ease", 0.75)):
        alone = fit(name)
        spread = alone.score(histories).std(axis=1)
        expected += weight * alone.contributions(histories, targets) / spread[user, None]
    np.testing.assert_allclose(fitted.contributions(histories, targets), expected, rtol=1e-4, atol=1e-6)


def test_what_is_popular_needs_no_reason():
    for name in ("popularity", "demographics"):
        fitted = fit(name)
        histories, targets = asked(fitted, ["i01", "i05"])
        assert not fitted.contributions(histories, targets).any()
