"""What the robustness benchmark does to training rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from augrec.data.simulate import ShopConfig, simulate

HOME = Path(__file__).parents[2]
COLUMNS = ("user_id", "item_id", "timestamp")
SHOP = simulate(ShopConfig(n_users=100, n_items=60, n_interactions=3000), 0)
TRAIN = SHOP.interactions.select(COLUMNS).unique(COLUMNS[:2], keep="first", maintain_order=True)


@pytest.fixture
def corrupted(monkeypatch):
    monkeypatch.syspath_prepend(HOME)
    from benchmarks import _corrupted

    return _corrupted


def test_noise_gives_a_share_of_the_rows_another_item(corrupted):
    noisy = corrupted.noisy(TRAIN, 0.2, seed=1)
    assert noisy.drop("item_id").equals(TRAIN.drop("item_id"))
    assert 0.15 < (noisy["item_id"] != TRAIN["item_id"]).mean() < 0.22
    assert not noisy.equals(corrupted.noisy(TRAIN, 0.2, seed=2))


def test_fake_users_hold_all_pushed_items_and_leave_the_others_alone(corrupted):
    pushed = corrupted.pushed_items(TRAIN, 3, seed=1)
    for fillers in corrupted.FILLERS:
        rows = corrupted.attacked(TRAIN, pushed, fillers, 0.05, seed=1)
        assert rows.head(len(TRAIN)).equals(TRAIN)
        fake = rows.slice(len(TRAIN))
        assert fake["user_id"].n_unique() == round(0.05 * TRAIN["user_id"].n_unique())
        holding = fake.filter(pl.col("item_id").is_in(pushed.implode()))
        assert (
            holding.group_by("user_id").len()["len"].to_list()
            == [3] * holding["user_id"].n_unique()
        )
        assert holding["user_id"].n_unique() == fake["user_id"].n_unique()


def test_bandwagon_fillers_are_popular(corrupted):
    pushed = corrupted.pushed_items(TRAIN, 3, seed=1)
    counts = dict(TRAIN.group_by("item_id").len().iter_rows())

    def popularity(fillers: str) -> float:
        fake = corrupted.attacked(TRAIN, pushed, fillers, 0.2, seed=1).slice(len(TRAIN))
        others = fake.filter(~pl.col("item_id").is_in(pushed.implode()))
        return sum(counts[item] for item in others["item_id"]) / len(others)

    assert popularity("random") < popularity("average") < popularity("bandwagon")
