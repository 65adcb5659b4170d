"""How rankings spread over the catalogue: against plain counting."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.data.histories import ItemIndex
from augrec.evaluation.item_statistics import (
    ITEM_GROUPS,
    ItemStatistics,
    catalogue_metrics,
    exposure,
)


def train(counts: dict[str, int]) -> pl.DataFrame:
    """So many users met each item."""
    pairs = [(f"u{user}", item) for item, n in counts.items() for user in range(n)]
    return pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")


def described(categories: dict[str, list[str] | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": list(categories), "categories": list(categories.values())},
        schema={"item_id": pl.String, "categories": pl.List(pl.String)},
    )


def test_the_same_list_for_all_and_all_items_alike_are_the_two_extremes():
    assert catalogue_metrics(np.zeros((4, 1), int), 4, [1]) == {"coverage@1": 0.25, "gini@1": 0.75}
    assert catalogue_metrics(np.arange(4)[:, None], 4, [1]) == {"coverage@1": 1.0, "gini@1": 0.0}


def test_gini_is_half_the_mean_absolute_difference_over_the_mean():
    random = np.random.default_rng(4)
    ranked = random.integers(0, 6, (50, 3)) ** 2 // 5
    counts = np.bincount(ranked.ravel(), minlength=8)
    expected = np.abs(counts[:, None] - counts).mean() / (2 * counts.mean())
    assert catalogue_metrics(ranked, 8, [3])["gini@3"] == pytest.approx(expected)


def test_empty_places_recommend_nothing():
    assert catalogue_metrics(np.array([[1, -1], [-1, -1]]), 2, [2])["coverage@2"] == 0.5
    assert catalogue_metrics(np.full((2, 2), -1), 2, [2]) == {"coverage@2": None, "gini@2": None}


def test_thirds_hold_a_third_of_the_interactions_each_and_items_without_any_are_new():
    items = ItemIndex(["a", "b", "c", "d", "e", "f", "g", "never"])
    statistics = ItemStatistics.of(
        items, train({"a": 6, "b": 3, "c": 3, "d": 2, "e": 2, "f": 1, "g": 1})
    )
    groups = dict(
        zip(items.ids.tolist(), (ITEM_GROUPS[group] for group in statistics.group), strict=True)
    )
    assert groups == {
        "a": "head",
        "b": "mid",
        "c": "mid",
        "d": "tail",
        "e": "tail",
        "f": "tail",
        "g": "tail",
        "never": "new",
    }


def test_every_item_has_one_group_and_head_items_are_never_less_popular_than_the_others():
    random = np.random.default_rng(1)
    counts = {f"i{item}": int(n) for item, n in enumerate(random.zipf(1.6, 40).clip(1, 60))}
    statistics = ItemStatistics.of(ItemIndex(list(counts)), train(counts))
    for place in range(len(ITEM_GROUPS) - 1):
        above = statistics.interactions[statistics.group == place]
        below = statistics.interactions[statistics.group == place + 1]
        assert not len(below) or above.min() >= below.max()


def test_exposure_counts_places_and_items_of_two_categories_in_parts():
    items = ItemIndex(["a", "b", "c"])
    statistics = ItemStatistics.of(
        items, train({"a": 2, "b": 1, "c": 1}), described({"a": ["x"], "b": ["x", "y"], "c": ["y"]})
    )
    ranked = np.array([[0, 1], [1, -1]])  # a b, b
    found = exposure(ranked, pl.Series([["c"], ["c", "unheard of"]]), statistics, [2])
    assert statistics.category_names == ["x", "y"]
    assert found["categories"]["groups"]["x"] == {
        "items": 2,
        "interactions": 2.5 / 4,
        "targets": 0.0,
        "exposure@2": pytest.approx(2 / 3),
    }
    assert found["categories"]["divergence@2"] == pytest.approx(2 / 3 - 2.5 / 4)
    groups = found["popularity"]["groups"]
    assert [groups[name]["items"] for name in ITEM_GROUPS] == [1, 1, 1, 0]
    assert [groups[name]["exposure@2"] for name in ITEM_GROUPS] == pytest.approx(
        [1 / 3, 2 / 3, 0, 0]
    )
    assert groups["new"]["targets"] == pytest.approx(
        1 / 3
    )  # what the model does not know is wanted all the same


def test_nothing_recommended_has_no_exposure_and_no_categories_make_no_groups():
    statistics = ItemStatistics.of(ItemIndex(["a", "b"]), train({"a": 2, "b": 1}))
    found = exposure(np.full((2, 1), -1), pl.Series([["a"], ["b"]]), statistics, [1])
    assert found["categories"] == {}
    assert found["popularity"]["divergence@1"] is None
    assert found["popularity"]["groups"]["head"]["exposure@1"] is None


def test_items_of_the_same_users_are_alike_where_there_are_no_categories():
    pairs = [
        (f"u{user}", item) for user in range(40) for item in (("a", "b") if user < 20 else ("c",))
    ]
    rows = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    statistics = ItemStatistics.of(
        ItemIndex(["a", "b", "c"]), rows, described({"a": None, "b": None, "c": None})
    )
    alike = (statistics.vectors @ statistics.vectors.T).toarray()
    assert statistics.alike_by == "users"
    assert alike[0, 1] == pytest.approx(alike[0, 0])
    assert abs(alike[0, 2]) < 0.3
