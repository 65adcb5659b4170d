"""The compact forms models work on say the same as the tables they came from."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex


def table(seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    n = 300
    return pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in draw.integers(0, 30, n)],
            "item_id": [f"i{k}" for k in draw.integers(0, 40, n)],
            "timestamp": pl.Series(draw.integers(0, 50, n)).cast(TIME),
            "weight": draw.random(n).astype(np.float32),
            "observed": draw.random(n) < 0.7,
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_histories_equal_a_plain_grouping(seed: int) -> None:
    rows = table(seed)
    index = ItemIndex([f"i{k}" for k in range(0, 40, 2)])  # half of the items are unknown
    histories = Histories.from_interactions(rows, index)
    assert histories.users.tolist() == sorted(set(rows["user_id"]))
    for position, user in enumerate(histories.users):
        own = sorted(
            (r for r in rows.rows(named=True) if r["user_id"] == user), key=lambda r: r["timestamp"]
        )
        own = [row for row in own if row["item_id"] in set(index.ids)]
        part = slice(histories.indptr[position], histories.indptr[position + 1])
        assert index.decode(histories.items[part]).tolist() == [row["item_id"] for row in own]
        assert histories.weights[part].tolist() == pytest.approx([row["weight"] for row in own])
        assert histories.observed[part].tolist() == [row["observed"] for row in own]


@pytest.mark.parametrize("observed_only", [False, True])
def test_the_matrix_holds_the_largest_weight_of_each_user_and_item(observed_only: bool) -> None:
    rows = table(7)
    index = ItemIndex(rows["item_id"])
    histories = Histories.from_interactions(rows, index)
    expected = np.zeros((len(histories), len(index)), np.float32)
    users = {user: k for k, user in enumerate(histories.users)}
    items = {item: k for k, item in enumerate(index.ids)}
    for row in rows.rows(named=True):
        if row["observed"] or not observed_only:
            cell = users[row["user_id"]], items[row["item_id"]]
            expected[cell] = max(expected[cell], row["weight"])
    assert np.array_equal(histories.matrix(observed_only=observed_only).toarray(), expected)


def test_lists_and_interactions_give_the_same_histories() -> None:
    rows = table(1).sort("user_id", "timestamp", maintain_order=True)
    index = ItemIndex(rows["item_id"])
    grouped = rows.group_by("user_id", maintain_order=True).agg("item_id")
    from_lists = Histories.from_lists(grouped["item_id"], index, grouped["user_id"].to_list())
    from_rows = Histories.from_interactions(rows, index)
    assert np.array_equal(from_lists.items, from_rows.items)
    assert np.array_equal(from_lists.indptr, from_rows.indptr)
    assert np.array_equal(from_lists.users, from_rows.users)


def test_empty_missing_and_unknown_lists_are_empty_histories() -> None:
    lists = pl.Series([[], ["new"], None, ["a", "new", "b"]], dtype=pl.List(pl.String))
    histories = Histories.from_lists(lists, ItemIndex(["b", "a"]))
    assert histories.lengths.tolist() == [0, 0, 0, 2]
    assert histories.items.tolist() == [0, 1]
    assert Histories.from_lists(lists.head(0), ItemIndex(["a"])).lengths.tolist() == []
    assert Histories.from_lists(pl.Series([[], []]), ItemIndex(["a"])).lengths.tolist() == [0, 0]


def test_batches_put_together_are_the_whole() -> None:
    rows = table(2)
    histories = Histories.from_interactions(rows, ItemIndex(rows["item_id"]))
    parts = list(histories.batches(7))
    assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)
    stacked = np.concatenate([part.matrix().toarray() for part in parts])
    assert np.array_equal(stacked, histories.matrix().toarray())


def test_an_index_is_sorted_without_duplicates_and_knows_what_it_does_not_know() -> None:
    index = ItemIndex(pl.Series(["b", "a", "b", None, "ä"]))
    assert index.ids.tolist() == ["a", "b", "ä"]
    assert index.encode(pl.Series(["ä", None, "x", "a"])).tolist() == [2, -1, -1, 0]
    assert index.decode(index.encode(pl.Series(["b", "a"]))).tolist() == ["b", "a"]
    assert len(ItemIndex([])) == 0
    assert ItemIndex([]).encode(pl.Series(["a"])).tolist() == [-1]
