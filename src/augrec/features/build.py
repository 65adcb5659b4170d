"""Feature tables of users and items, as of every snapshot that differs from the one before.

A row with `event_timestamp` t is computed from interactions strictly before t. An entity has a row
at each snapshot at which a count changes, because interactions begin to count or leave a window, so
that tables grow with activity and not with the calendar; and one just after the end of the data,
for the online store. Items also have a row just before the data begins, so that price and
categories are available from the first interaction on. What grows by itself between two rows, such
as an age, is added when rows are joined (`augrec.features.schema.grown`). The cost is linear in
interactions and rows, times windows and categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.features.schema import (
    EVENT_TIMESTAMP,
    SNAPSHOT,
    TYPES,
    Feature,
    FeaturesConfig,
    schema_of,
    window_name,
)
from augrec.features.timeline import DAY_US, Grid, Timeline

CATEGORY = "category"


@dataclass(frozen=True)
class Prepared:
    """Input of the feature tables.

    Attributes:
        interactions: all clean interactions: user_id, item_id, timestamp, value.
        items: the items table: item_id, categories, price.
        users: user_id.
        held_out: user_id of validation and test users.
        categories: the names of the category slots, at most max_categories.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    held_out: pl.DataFrame
    categories: list[str]


def top_categories(train: pl.DataFrame, items: pl.DataFrame, n: int) -> list[str]:
    """The n categories with the most training interactions, most frequent first, ties by name."""
    counts = train.group_by(C.ITEM).len().join(item_categories(items), on=C.ITEM)
    return (
        counts.group_by(CATEGORY)
        .agg(pl.col("len").sum())
        .sort(["len", CATEGORY], descending=[True, False])
        .head(n)[CATEGORY]
        .to_list()
    )


def item_categories(items: pl.DataFrame) -> pl.DataFrame:
    """One row for each item and each of its categories: item_id, category."""
    return (
        items.select(C.ITEM, pl.col(C.CATEGORIES).alias(CATEGORY))
        .explode(CATEGORY)
        .drop_nulls()
        .unique(maintain_order=True)
    )


def user_features(data: Prepared, config: FeaturesConfig) -> pl.DataFrame:
    """Features of every user, held-out users included, from their own history.

    `category_shares` are shares of all earlier interactions; an item with two categories counts in
    both.

    Returns:
        user_id, event_timestamp, snapshot_us and the columns of `schema_of`, sorted by the first
        two.
    """
    grid = _grid(data.interactions, config)
    ids = _ids(data.users, data.interactions, C.USER)
    events = _timeline(data.interactions, C.USER, ids)
    entities, moments = _rows(events, grid, len(ids))
    touched = data.interactions.select(C.USER, C.ITEM, C.TIMESTAMP).join(
        item_categories(data.items), on=C.ITEM
    )
    first_touch = touched.group_by(C.USER, CATEGORY).agg(pl.col(C.TIMESTAMP).min())
    columns = _activity(events, entities, moments, config)
    columns["n_categories"] = _timeline(first_touch, C.USER, ids).count(entities, moments)
    shares = np.zeros((len(entities), config.max_categories), np.float32)
    total = np.maximum(columns["interactions_total"], 1)
    for slot, category in enumerate(data.categories):
        of_category = _timeline(touched.filter(pl.col(CATEGORY) == category), C.USER, ids)
        shares[:, slot] = of_category.count(entities, moments) / total
    columns["category_shares"] = shares
    return _table(C.USER, ids, entities, moments, columns, schema_of(config)["user"])


def item_features(data: Prepared, config: FeaturesConfig) -> pl.DataFrame:
    """Features of every item, from interactions of users who are not held out.

    Returns:
        item_id, event_timestamp, snapshot_us and the columns of `schema_of`, sorted by the first
        two.
    """
    grid = _grid(data.interactions, config)
    ids = _ids(data.items, data.interactions, C.ITEM)
    held_out = pl.col(C.USER).is_in(data.held_out[C.USER].implode())
    events = _timeline(data.interactions.filter(~held_out), C.ITEM, ids)
    entities, moments = _rows(events, grid, len(ids), grid.floor(grid.begin_us))
    columns = _activity(events, entities, moments, config)
    columns["age_days"] = events.days_since_first(entities, moments)
    known = ids.to_frame().join(data.items, on=C.ITEM, how="left", maintain_order="left")
    columns["price"] = known[C.PRICE].cast(pl.Float64).fill_null(np.nan).to_numpy()[entities]
    columns["category_flags"] = _flags(data, ids, config.max_categories)[entities]
    return _table(C.ITEM, ids, entities, moments, columns, schema_of(config)["item"])


def _grid(interactions: pl.DataFrame, config: FeaturesConfig) -> Grid:
    if interactions.is_empty():
        raise InputError(
            "there are no interactions to build features from",
            where="data/prepared/interactions.parquet",
            fix="check data.window and prepare in params.yaml",
        )
    times = interactions[C.TIMESTAMP].to_physical().to_numpy()
    return Grid(
        step_us=config.every_days * DAY_US,
        windows_us=tuple(days * DAY_US for days in config.windows_days),
        begin_us=int(times.min()),
        end_us=int(times.max()),
    )


def _ids(known: pl.DataFrame, interactions: pl.DataFrame, key: str) -> pl.Series:
    return pl.concat([known[key], interactions[key]]).drop_nulls().unique().sort()


def _timeline(events: pl.DataFrame, key: str, ids: pl.Series) -> Timeline:
    index = pl.DataFrame({key: ids, "position": np.arange(len(ids), dtype=np.int64)})
    entities = (
        events.select(key)
        .join(index, on=key, how="left", maintain_order="left")["position"]
        .to_numpy()
    )
    times = events[C.TIMESTAMP].to_physical().to_numpy()
    if C.VALUE not in events.columns:
        return Timeline(entities, times)
    return Timeline(entities, times, events[C.VALUE].cast(pl.Float64).fill_null(np.nan).to_numpy())


def _rows(
    events: Timeline, grid: Grid, n: int, begin_us: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    entities, moments = grid.snapshots(events)
    all_entities = np.arange(n, dtype=np.int64)
    fixed = [grid.final_us] if begin_us is None else [begin_us, grid.final_us]
    entities = np.concatenate([entities, *[all_entities] * len(fixed)])
    moments = np.concatenate([moments, *[np.full(n, moment, np.int64) for moment in fixed]])
    order = np.lexsort((moments, entities))
    return entities[order], moments[order]


def _activity(
    events: Timeline, entities: np.ndarray, moments: np.ndarray, config: FeaturesConfig
) -> dict[str, np.ndarray]:
    counts = {
        window_name(days): events.count(entities, moments, days * DAY_US)
        for days in config.windows_days
    }
    recency = np.minimum(events.days_since_last(entities, moments), config.windows_days[-1])
    return {
        **counts,
        "interactions_total": events.count(entities, moments),
        "days_since_last": recency,
        "mean_value": events.mean_value(entities, moments),
    }


def _flags(data: Prepared, ids: pl.Series, n_slots: int) -> np.ndarray:
    flags = np.zeros((len(ids), n_slots), np.float32)
    pairs = (
        item_categories(data.items)
        .join(pl.DataFrame({C.ITEM: ids, "row": np.arange(len(ids))}), on=C.ITEM)
        .join(
            pl.DataFrame(
                {CATEGORY: data.categories, "slot": range(len(data.categories))},
                schema={CATEGORY: pl.String, "slot": pl.Int64},
            ),
            on=CATEGORY,
        )
    )
    flags[pairs["row"].to_numpy(), pairs["slot"].to_numpy()] = 1.0
    return flags


def _table(
    key: str,
    ids: pl.Series,
    entities: np.ndarray,
    moments: np.ndarray,
    columns: dict[str, np.ndarray],
    schema: dict[str, Feature],
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            ids.gather(entities).alias(key),
            pl.Series(EVENT_TIMESTAMP, moments).cast(TIME),
            pl.Series(SNAPSHOT, moments),
            *[
                pl.Series(name, columns[name], nan_to_null=True).cast(TYPES[feature["type"]])
                for name, feature in schema.items()
            ],
        ]
    )
