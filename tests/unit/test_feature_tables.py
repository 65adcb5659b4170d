"""Feature tables, held against the definitions in plain Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from augrec.core.config import parse
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import TIME
from augrec.features.build import Prepared, item_features, top_categories, user_features
from augrec.features.schema import FeaturesConfig, schema_of

CONFIG = FeaturesConfig(every_days=4, windows_days=(3, 10), max_categories=3)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CATEGORIES = {
    "i0": ["a"],
    "i1": ["a", "b"],
    "i2": ["c"],
    "i3": None,
    "i4": [],
    "i5": ["b", "d"],
    "new": ["d"],
}
HELD_OUT = "u0"


def interactions(n: int = 160) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    minutes = rng.integers(0, 70 * 24 * 60, n)
    # Some exactly on a grid moment: 2024-01-03 is a multiple of four days since 1970.
    minutes[:6] = np.array([2, 2, 6, 6, 10, 26]) * 24 * 60
    return pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in rng.integers(0, 9, n)],
            "item_id": [f"i{k}" for k in rng.integers(0, 6, n)],
            "timestamp": [BEGIN + timedelta(minutes=int(m)) for m in minutes],
            "value": [None if k == 0 else float(k) for k in rng.integers(0, 6, n)],
        },
        schema_overrides={"timestamp": TIME, "value": pl.Float32},
    )


def prepared(table: pl.DataFrame) -> Prepared:
    return Prepared(
        interactions=table,
        items=pl.DataFrame(
            {
                "item_id": list(CATEGORIES),
                "categories": list(CATEGORIES.values()),
                "price": [1.5, None, 3.0, 4.0, 5.0, 6.0, 7.0],
            }
        ),
        users=pl.DataFrame({"user_id": [*(f"u{k}" for k in range(9)), "silent"]}),
        held_out=pl.DataFrame({"user_id": [HELD_OUT]}),
        categories=["a", "b", "c"],
    )


def moments_of(times: list[datetime], extra: list[datetime], end: datetime) -> list[datetime]:
    """Grid moments with an event in the ten days before, those where that has just ended, and the
    extra ones."""
    grid = [
        EPOCH + timedelta(days=4 * k)
        for k in range((BEGIN - EPOCH).days // 4, (end - EPOCH).days // 4 + 1)
    ]
    active = [any(t - timedelta(days=10) <= time < t for time in times) for t in grid]
    kept = [t for k, t in enumerate(grid) if active[k] or (k > 0 and active[k - 1])]
    return sorted({*kept, *extra})


def activity(rows: list[dict], t: datetime) -> dict:
    values = [row["value"] for row in rows if row["value"] is not None]
    ages = [(t - row["timestamp"]) / timedelta(days=1) for row in rows]
    return {
        "interactions_3d": sum(age <= 3 for age in ages),
        "interactions_10d": sum(age <= 10 for age in ages),
        "interactions_total": len(rows),
        "days_since_last": min([*ages, 10.0]),
        "mean_value": sum(values) / len(values) if values else None,
    }


def naive(table: pl.DataFrame, key: str, ids: list[str]) -> pl.DataFrame:
    end = table["timestamp"].max()
    start = EPOCH + timedelta(days=(table["timestamp"].min() - EPOCH).days // 4 * 4)
    extra = [end + timedelta(microseconds=1), *([start] if key == "item_id" else [])]
    result = []
    for entity in sorted(ids):
        rows = [r for r in table.iter_rows(named=True) if r[key] == entity]
        if key == "item_id":
            rows = [r for r in rows if r["user_id"] != HELD_OUT]
        for t in moments_of([r["timestamp"] for r in rows], extra, end):
            before = [r for r in rows if r["timestamp"] < t]
            row = {key: entity, "event_timestamp": t, **activity(before, t)}
            if key == "user_id":
                touched = [CATEGORIES[r["item_id"]] or [] for r in before]
                row["n_categories"] = len({c for cs in touched for c in cs})
                row["category_shares"] = [
                    sum(s in cs for cs in touched) / max(len(before), 1) for s in "abc"
                ]
            else:
                first = min((r["timestamp"] for r in before), default=t)
                item = list(CATEGORIES).index(entity)
                row["age_days"] = (t - first) / timedelta(days=1)
                row["price"] = prepared(table).items["price"][item]
                row["category_flags"] = [float(s in (CATEGORIES[entity] or [])) for s in "abc"]
            result.append(row)
    return pl.DataFrame(result, infer_schema_length=None)


@pytest.mark.parametrize(
    ("build", "key", "ids"),
    [
        (user_features, "user_id", [*(f"u{k}" for k in range(9)), "silent"]),
        (item_features, "item_id", list(CATEGORIES)),
    ],
)
def test_tables_equal_the_definitions_computed_one_row_at_a_time(build, key, ids):
    table = interactions()
    built = build(prepared(table), CONFIG)
    expected = naive(table, key, ids).select(
        [pl.col(name).cast(kind) for name, kind in built.schema.items()]
    )
    assert_frame_equal(built, expected, rel_tol=1e-6)
    assert len(built) > 3 * len(ids), "the random table must exercise more than the fixed snapshots"


def test_columns_and_types_are_those_the_schema_promises():
    data = prepared(interactions())
    for kind, table in (
        ("user", user_features(data, CONFIG)),
        ("item", item_features(data, CONFIG)),
    ):
        promised = {name: feature["type"] for name, feature in schema_of(CONFIG)[kind].items()}
        assert {name: str(table.schema[name]) for name in table.columns[2:]} == promised
        assert not any(
            table[name].is_nan().any() for name in table.columns if table.schema[name] == pl.Float32
        )


def test_events_of_a_held_out_user_never_move_item_features():
    table = interactions()
    inner = pl.col("timestamp").is_between(
        pl.col("timestamp").min(), pl.col("timestamp").max(), closed="none"
    )
    moved = table.filter(~((pl.col("user_id") == HELD_OUT) & inner))
    assert len(moved) < len(table)
    assert_frame_equal(
        item_features(prepared(table), CONFIG), item_features(prepared(moved), CONFIG)
    )
    # The same change is seen where the user is not held out.
    everyone = {"held_out": pl.DataFrame({"user_id": ["nobody"]})}
    assert not item_features(replace(prepared(table), **everyone), CONFIG).equals(
        item_features(replace(prepared(moved), **everyone), CONFIG)
    )


def test_later_interactions_leave_every_earlier_snapshot_as_it_was():
    table = interactions()
    until = EPOCH + timedelta(days=19760)  # a grid moment in the middle
    early = user_features(prepared(table.filter(pl.col("timestamp") < until)), CONFIG)
    full = user_features(prepared(table), CONFIG)
    past = pl.col("event_timestamp") < until - timedelta(days=4)
    assert early.filter(past).height > 20
    assert_frame_equal(early.filter(past), full.filter(past))


def test_the_order_of_interactions_does_not_matter():
    table = interactions()
    shuffled = prepared(table.sample(fraction=1.0, shuffle=True, seed=3))
    assert_frame_equal(user_features(prepared(table), CONFIG), user_features(shuffled, CONFIG))


def test_top_categories_come_from_training_rows_alone():
    items = prepared(interactions()).items
    train = pl.DataFrame({"item_id": ["i2", "i2", "i1", "i3"]})
    assert top_categories(train, items, 5) == [
        "c",
        "a",
        "b",
    ]  # ties by name; d was never trained on
    assert top_categories(train, items, 1) == ["c"]


def test_a_catalogue_without_categories_still_has_features():
    data = replace(prepared(interactions()), categories=[])
    table = data.items.with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias("categories"))
    users = user_features(replace(data, items=table), CONFIG)
    assert users["n_categories"].sum() == 0
    assert users["category_shares"].list.sum().sum() == 0


def test_no_interactions_are_an_error_that_says_so():
    with pytest.raises(InputError, match="no interactions"):
        user_features(prepared(interactions().clear()), CONFIG)


@pytest.mark.parametrize(
    "wrong", [{"every_days": 0}, {"windows_days": []}, {"windows": [7]}, {"max_categories": -1}]
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        parse(FeaturesConfig, wrong, "features")
