from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from augrec.data.columns import INTERACTIONS, ITEMS
from augrec.serving.schemas import SimilarItemsRequest
from augrec.validation.config import WindowConfig, read_config
from augrec.validation.quarantine import apply_rules
from augrec.validation.rules import interaction_rules, item_rules, user_rules
from augrec.validation.snapshot import inside

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
LIMITS, _ = read_config(PARAMS)
NOW = datetime(2024, 1, 1, 12, 34, 56, tzinfo=UTC)
LATEST = datetime(2025, 1, 1, tzinfo=UTC)


def row(**changes: Any) -> dict[str, Any]:
    good = dict.fromkeys(INTERACTIONS) | {
        "user_id": "u",
        "item_id": "i",
        "event": "view",
        "timestamp": NOW,
        "origin": "real",
        "weight": 1.0,
    }
    return good | changes


def reasons(*rows: dict[str, Any]) -> list[str | None]:
    table = pl.DataFrame(rows, schema=dict(INTERACTIONS))
    return apply_rules(table, interaction_rules(LIMITS, LATEST)).rows["reason"].to_list()


def test_a_good_row_has_no_reason() -> None:
    assert reasons(row(), row(value=5.0, item_id="other")) == [None, None]


def test_each_fault_has_its_reason() -> None:
    faults = {
        "user_id is missing": {"user_id": None},
        "user_id is empty": {"user_id": "  "},
        "item_id is empty": {"item_id": "NaN"},
        "user_id has control characters": {"user_id": "a\x00"},
        "item_id has control characters": {"item_id": "a\nb"},
        "item_id has more than 256 characters": {"item_id": "é" * 257},
        "event is missing": {"event": None},
        "event is not one of validation.events": {"event": "stare"},
        "value is not within 0 and 1,000,000": {"value": -1.0},
        "timestamp is missing": {"timestamp": None},
        "timestamp is before 1995-01-01": {"timestamp": datetime(1970, 1, 1, tzinfo=UTC)},
        "timestamp is in the future": {"timestamp": LATEST + timedelta(microseconds=1)},
        "weight is not above 0 and at most 1,000,000": {"weight": 0.0},
    }
    assert reasons(*(row(**change) for change in faults.values())) == list(faults)
    assert str(reasons(row(origin="profile_gan"))[0]).startswith("origin is not real")


def test_bounds_themselves_are_good() -> None:
    longest = row(item_id="é" * 256)
    earliest = row(timestamp=LIMITS.earliest)
    assert reasons(row(timestamp=LATEST), earliest, row(value=0.0), longest) == [None] * 4


@pytest.mark.parametrize("item", ["i", "é" * 256, "é" * 257, "a\x00", "a\x7f", "two words"])
def test_validation_and_the_service_accept_the_same_ids(item: str) -> None:
    try:
        SimilarItemsRequest(item_id=item)
        served = True
    except ValidationError:
        served = False
    assert (reasons(row(item_id=item)) == [None]) == served


def test_several_faults_are_all_named_and_the_row_is_counted_once_for_each() -> None:
    table = pl.DataFrame([row(user_id=None, event=None), row()], schema=dict(INTERACTIONS))
    checked = apply_rules(table, interaction_rules(LIMITS, LATEST))
    assert checked.bad["reason"].to_list() == ["user_id is missing; event is missing"]
    assert checked.counts == {"user_id is missing": 1, "event is missing": 1}
    assert checked.good.equals(table.tail(1))


def test_of_exact_copies_the_first_stays() -> None:
    copy = "row is an exact copy of an earlier one"
    assert reasons(row(), row(value=1.0), row(), row()) == [None, None, copy, copy]


@pytest.mark.parametrize("hour", [0, 22, 18.5])  # midnight in London, Berlin, Delhi
def test_rows_whose_time_is_a_date_may_repeat_on_that_day(hour: float) -> None:
    midnight = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    assert reasons(*[row(timestamp=midnight)] * 3) == [None] * 3


def test_of_items_with_one_id_the_first_good_one_stays() -> None:
    prices = [-1.0, 2.0, 3.0]
    items = pl.DataFrame(
        {
            name: (["a"] * 3 if name == "item_id" else prices if name == "price" else [None] * 3)
            for name in ITEMS
        },
        schema=dict(ITEMS),
    )
    checked = apply_rules(items, item_rules(LIMITS))
    assert checked.good["price"].to_list() == [2.0]
    assert len(checked.bad) == 2


def test_every_row_is_either_good_or_quarantined() -> None:
    users = pl.DataFrame({"user_id": ["a", None, "b", "a", "", "none"], "age": [1, 2, 3, 4, 5, 6]})
    checked = apply_rules(users, user_rules())
    assert checked.good["age"].to_list() == [1, 3]
    assert checked.bad["age"].to_list() == [2, 4, 5, 6]


def test_a_table_without_rows_stays_as_it_is() -> None:
    empty = pl.DataFrame(schema=dict(INTERACTIONS))
    checked = apply_rules(empty, interaction_rules(LIMITS, LATEST))
    assert checked.good.equals(empty)
    assert checked.bad.is_empty()


def test_the_window_holds_its_start_but_not_its_end() -> None:
    days = [NOW + timedelta(days=n) for n in range(4)]
    table = pl.DataFrame([row(timestamp=day) for day in days], schema=dict(INTERACTIONS))
    kept = inside(table, WindowConfig(start=days[1], end=days[3]))
    assert kept["timestamp"].to_list() == days[1:3]
    assert inside(table, WindowConfig()).equals(table)
