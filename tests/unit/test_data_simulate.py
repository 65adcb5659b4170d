"""The synthetic shop has the properties its documentation claims."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from augrec.data.canonical import Tables
from augrec.data.columns import INTERACTIONS, ITEMS
from augrec.data.simulate import ShopConfig, simulate


@pytest.fixture(scope="module")
def shop() -> Tables:
    return simulate(ShopConfig(n_users=2000, n_items=600, n_interactions=60_000), seed=1)


def with_category(tables: Tables) -> pl.DataFrame:
    categories = tables.items.select("item_id", pl.col("categories").list.first().alias("category"))
    return tables.interactions.join(categories, on="item_id", how="left", maintain_order="left")


def test_the_same_seed_gives_the_same_tables_and_another_seed_does_not() -> None:
    config = ShopConfig(n_users=50, n_items=30, n_interactions=500, drift=0.5)
    first, again, other = simulate(config, 1), simulate(config, 1), simulate(config, 2)
    assert all(a.equals(b) for a, b in zip(first, again, strict=True))
    assert not first.interactions.equals(other.interactions)


def test_tables_are_canonical_complete_and_of_the_size_asked_for(shop: Tables) -> None:
    assert dict(shop.interactions.schema) == dict(INTERACTIONS)
    assert dict(shop.items.schema) == dict(ITEMS)
    assert len(shop.items) == 600
    assert len(shop.users) == 2000
    assert len(shop.interactions) == pytest.approx(60_000, rel=0.02)
    assert shop.items.null_count().sum_horizontal().item() == 0
    assert shop.interactions["item_id"].is_in(shop.items["item_id"].implode()).all()
    assert shop.interactions["user_id"].is_in(shop.users["user_id"].implode()).all()
    assert shop.interactions["timestamp"].is_sorted()


def test_popularity_follows_a_power_law(shop: Tables) -> None:
    counts = np.sort(shop.interactions["item_id"].value_counts()["count"].to_numpy())[::-1]
    rank = np.arange(1, 201)
    slope, offset = np.polyfit(np.log(rank), np.log(counts[:200]), 1)
    residual = np.log(counts[:200]) - slope * np.log(rank) - offset
    assert -1.6 < slope < -0.4
    assert residual.var() < 0.1 * np.log(counts[:200]).var()


def test_cold_users_and_cold_items_exist(shop: Tables) -> None:
    first_seen = shop.interactions.group_by("user_id").agg(pl.col("timestamp").min(), pl.len())
    late = shop.interactions["timestamp"].quantile(0.8)
    assert (first_seen["timestamp"] > late).sum() > 100
    assert (first_seen["len"] <= 5).sum() > 100
    assert shop.users.join(first_seen, on="user_id", how="anti").height > 20
    items_seen = shop.interactions.group_by("item_id").agg(pl.col("timestamp").min())
    assert (items_seen["timestamp"] > shop.interactions["timestamp"].quantile(0.3)).sum() > 30


def test_views_lead_to_carts_and_carts_to_purchases_with_a_price(shop: Tables) -> None:
    counts = dict(shop.interactions["event"].value_counts().iter_rows())
    assert counts["cart"] / counts["view"] == pytest.approx(0.15, abs=0.01)
    assert counts["purchase"] / counts["cart"] == pytest.approx(0.4, abs=0.02)
    values = (
        shop.interactions.group_by("event")
        .agg(pl.col("value").null_count(), pl.len())
        .sort("event")
    )
    assert values.rows() == [
        ("cart", counts["cart"], counts["cart"]),
        ("purchase", 0, counts["purchase"]),
        ("view", counts["view"], counts["view"]),
    ]


def test_a_users_views_agree_in_category_far_beyond_chance(shop: Tables) -> None:
    views = with_category(shop).filter(pl.col("event") == "view")
    overall = views["category"].value_counts(normalize=True)["proportion"]
    by_chance = float((overall**2).sum())
    shares = (
        views.group_by("user_id", "category")
        .len()
        .with_columns((pl.col("len") / pl.col("len").sum().over("user_id")).alias("share"))
    )
    agreement = shares.group_by("user_id").agg((pl.col("share") ** 2).sum())["share"].mean()
    assert agreement > 1.5 * by_chance


def test_attributes_say_something_about_taste() -> None:
    def spread(strength: float) -> float:
        config = ShopConfig(
            n_users=1500,
            n_items=300,
            n_interactions=40_000,
            attribute_strength=strength,
            visit_focus=0,
        )
        tables = simulate(config, seed=4)
        rows = with_category(tables).join(tables.users, on="user_id")
        shares = (
            rows.group_by("age_group", "category")
            .len()
            .with_columns((pl.col("len") / pl.col("len").sum().over("age_group")).alias("share"))
        )
        return float(shares.group_by("category").agg(pl.col("share").std())["share"].mean())

    assert spread(0.9) > 3 * spread(0.0)


def category_change(drift: float) -> float:
    tables = simulate(
        ShopConfig(n_users=1000, n_items=300, n_interactions=40_000, new_item_share=0, drift=drift),
        seed=2,
    )
    rows = with_category(tables)
    middle = rows["timestamp"].median()
    halves = [
        rows.filter(part)["category"].value_counts(normalize=True).rename({"proportion": name})
        for name, part in (
            ("early", pl.col("timestamp") < middle),
            ("late", pl.col("timestamp") >= middle),
        )
    ]
    joined = (
        halves[0]
        .select("category", "early")
        .join(halves[1].select("category", "late"), on="category", how="full")
        .fill_null(0)
    )
    return float((joined["early"] - joined["late"]).abs().sum() / 2)


def test_drift_moves_the_shares_of_categories_and_without_it_they_stay() -> None:
    assert category_change(2.0) > 2.5 * category_change(0.0)


def test_weekends_and_december_are_busier() -> None:
    config = ShopConfig(
        n_users=500,
        n_items=100,
        n_interactions=60_000,
        days=730,
        start=date(2021, 1, 1),
        weekly_swing=0.6,
        yearly_swing=0.6,
        new_user_share=0,
    )
    moments = simulate(config, seed=1).interactions["timestamp"]
    weekday = moments.dt.weekday().value_counts(sort=True)["timestamp"].to_list()
    assert set(weekday[:2]) == {6, 7}
    months = dict(moments.dt.month().value_counts().iter_rows())
    assert months[12] > 1.5 * months[6]


def test_a_tiny_shop_keeps_its_days_and_its_one_item() -> None:
    config = ShopConfig(
        n_users=5, n_items=1, n_interactions=40, n_categories=3, days=3, new_user_share=1.0
    )
    tiny = simulate(config, seed=1)
    days = tiny.interactions["timestamp"].dt.date()
    assert date(2022, 1, 1) <= days.min() <= days.max() <= date(2022, 1, 3)
    assert set(tiny.interactions["item_id"]) == {"i00001"}
