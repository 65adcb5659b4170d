"""Cleaning: which events count, and which of several is kept."""

from __future__ import annotations

import polars as pl
import pytest

from augrec.core.config import parse
from augrec.core.errors import ConfigError, InputError
from augrec.data.canonical import canonical_tables
from augrec.data.clean import clean
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.config import PrepareConfig


def events(*rows: tuple[str | None, str, str, float | None, int]) -> pl.DataFrame:
    frame = pl.DataFrame(
        rows,
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event": pl.String,
            "value": pl.Float32,
            "t": pl.Int64,
        },
        orient="row",
    )
    return canonical_tables(
        frame.with_columns(pl.col("t").cast(TIME).alias("timestamp")).drop("t")
    ).interactions


def test_events_count_from_their_smallest_value_on_and_unlisted_ones_never() -> None:
    table = events(
        ("a", "1", "rating", 4.0, 1),
        ("a", "2", "rating", 3.5, 2),
        ("a", "3", "rating", None, 3),
        ("a", "4", "view", None, 4),
        ("a", "5", "return", 9.0, 5),
    )
    assert clean(table, {"rating": 4.0, "view": None})["item_id"].to_list() == ["1", "4"]


def test_the_earliest_positive_of_a_user_and_an_item_is_kept() -> None:
    table = events(
        ("a", "1", "purchase", 5.0, 9),
        ("a", "1", "view", None, 3),
        ("a", "1", "hover", None, 1),
        ("b", "1", "view", None, 2),
    )
    kept = clean(table, {"view": None, "purchase": None})
    assert kept.select("user_id", "event").rows() == [("a", "view"), ("b", "view")]


def test_rows_come_sorted_by_user_and_time_with_the_canonical_columns() -> None:
    table = events(
        ("b", "1", "view", None, 1),
        ("a", "9", "view", None, 5),
        ("a", "8", "view", None, 1),
    )
    kept = clean(table, {"view": None})
    assert kept.select("user_id", "item_id").rows() == [("a", "8"), ("a", "9"), ("b", "1")]
    assert dict(kept.schema) == dict(INTERACTIONS)


def test_of_events_at_one_time_the_same_is_kept_in_whatever_order_they_come() -> None:
    rows = [("a", "1", kind, value, 3) for kind in ("view", "cart") for value in (2.0, 1.0, None)]
    kept = [
        clean(events(*part), {"view": None, "cart": None}).select("event", "value").rows()
        for part in (rows, rows[::-1], rows[3:] + rows[:3])
    ]
    assert kept == [[("cart", None)]] * 3


def test_rare_items_are_left_out_once_by_distinct_users() -> None:
    table = events(
        ("a", "rare", "view", None, 1),
        ("a", "rare", "view", None, 2),
        ("a", "common", "view", None, 3),
        ("b", "common", "view", None, 4),
    )
    assert set(clean(table, {"view": None}, min_item_interactions=2)["item_id"]) == {"common"}


def test_no_positive_event_is_an_error_that_names_the_events_found() -> None:
    with pytest.raises(InputError) as caught:
        clean(events(("a", "1", "listen", None, 1)), {"view": None})
    assert "listen" in caught.value.where
    assert "prepare.positive" in caught.value.fix


def test_rows_without_a_user_are_refused_and_not_treated_as_one_user() -> None:
    with pytest.raises(InputError, match="user_id in 1 rows"):
        clean(events((None, "1", "view", None, 1), ("a", "1", "view", None, 1)), {"view": None})


def test_unknown_and_impossible_settings_name_their_place_in_params() -> None:
    with pytest.raises(ConfigError, match=r"prepare\.split\.max_users"):
        parse(PrepareConfig, {"positive": {}, "split": {"max_users": 1}}, "prepare")
    with pytest.raises(ConfigError, match=r"prepare\.split\.valid_from"):
        parse(PrepareConfig, {"positive": {}, "split": {"valid_from": 1.5}}, "prepare")
