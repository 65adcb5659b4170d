"""Feature tables, held against the definitions in plain Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from augrec.core.config import parse
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import TIME
from augrec.features.build import Prepared, item_features, top_categories, user_features
from augrec.features.schema import FeaturesConfig, fill, grown, schema_of

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


def interactions(n: int = 160, seed: int = 7) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
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


def grid_of(end: datetime) -> list[datetime]:
    return [
        EPOCH + timedelta(days=4 * k)
        for k in range((BEGIN - EPOCH).days // 4, (end - EPOCH).days // 4 + 1)
    ]


def moments_of(times: list[datetime], extra: list[datetime], end: datetime) -> list[datetime]:
    """Grid moments at which events begin to count or leave a window, and the extra ones."""

    def counted(t: datetime) -> list[set[int]]:
        return [
            {k for k, time in enumerate(times) if t - timedelta(days=days) <= time < t}
            for days in (3, 10, 10_000)
        ]

    grid = grid_of(end)
    changed = [t for before, t in pairwise(grid) if counted(t) != counted(before)]
    return sorted({*changed, *extra})


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


def naive(
    table: pl.DataFrame, key: str, ids: list[str], *, every_snapshot: bool = False
) -> pl.DataFrame:
    end = table["timestamp"].max()
    start = EPOCH + timedelta(days=(table["timestamp"].min() - EPOCH).days // 4 * 4)
    extra = [end + timedelta(microseconds=1), *([start] if key == "item_id" else [])]
    result = []
    for entity in sorted(ids):
        rows = [r for r in table.iter_rows(named=True) if r[key] == entity]
        if key == "item_id":
            rows = [r for r in rows if r["user_id"] != HELD_OUT]
        times = [r["timestamp"] for r in rows]
        moments = (
            sorted({*grid_of(end), *extra}) if every_snapshot else moments_of(times, extra, end)
        )
        for t in moments:
            before = [r for r in rows if r["timestamp"] < t]
            at = (t - EPOCH) // timedelta(microseconds=1)
            row = {key: entity, "event_timestamp": t, "snapshot_us": at, **activity(before, t)}
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


@pytest.mark.parametrize(
    ("kind", "build", "key", "ids"),
    [
        ("user", user_features, "user_id", [*(f"u{k}" for k in range(9)), "silent"]),
        ("item", item_features, "item_id", list(CATEGORIES)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_every_moment_features_are_those_of_the_latest_snapshot_stored_or_not(
    kind, build, key, ids, seed
):
    """Against a table with a row at every snapshot."""
    data = interactions(40, seed=seed)
    grid, end = grid_of(data["timestamp"].max()), data["timestamp"].max()
    between = (t + timedelta(minutes=977 * k) for k, t in enumerate(grid[1:]))
    moments = [*grid[1:], *(t for t in between if t <= end), end + timedelta(microseconds=1)]
    rows = pl.DataFrame({key: ids}).join(
        pl.DataFrame({"timestamp": moments}, schema={"timestamp": TIME}), how="cross"
    )
    every = naive(data, key, ids, every_snapshot=True)
    stored = build(prepared(data), CONFIG)
    schema = {kind: schema_of(CONFIG)[kind]}
    found = []
    for table in (every.cast(dict(stored.schema)), stored):
        named = table.rename({name: f"{kind}__{name}" for name in table.columns[2:]})
        joined = rows.sort("timestamp").join_asof(
            named.sort("event_timestamp"),
            left_on="timestamp",
            right_on="event_timestamp",
            by=key,
            check_sortedness=False,
        )
        found.append(joined.drop("event_timestamp").sort(key, "timestamp"))
    assert len(stored) < 0.6 * len(every)
    expected = fill(found[0].drop(f"{kind}__snapshot_us"), schema)
    assert_frame_equal(fill(grown(found[1], schema, "timestamp"), schema), expected, rel_tol=1e-5)


def test_tables_grow_with_activity_and_not_with_the_calendar():
    rows = pl.DataFrame(
        {
            "user_id": ["u1", "u1", "u2"],
            "item_id": ["i0", "i1", "i0"],
            "timestamp": [BEGIN, BEGIN + timedelta(days=3000), BEGIN + timedelta(days=6000)],
            "value": [None, 1.0, 2.0],
        },
        schema_overrides={"timestamp": TIME, "value": pl.Float32},
    )
    data = prepared(rows)
    n_ids = len(data.users) + len(data.items)
    tables = (user_features(data, CONFIG), item_features(data, CONFIG))
    assert sum(map(len, tables)) <= 2 * 3 * len(rows) + 2 * n_ids


def test_columns_and_types_are_those_the_schema_promises():
    data = prepared(interactions())
    for kind, table in (
        ("user", user_features(data, CONFIG)),
        ("item", item_features(data, CONFIG)),
    ):
        promised = {name: feature["type"] for name, feature in schema_of(CONFIG)[kind].items()}
        assert {name: str(table.schema[name]) for name in table.columns[3:]} == promised
        assert table["snapshot_us"].equals(
            table["event_timestamp"].to_physical(), check_names=False
        )
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
