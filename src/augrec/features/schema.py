"""The features, their types, and the defaults of entities that have no features yet.

The features stage writes them to data/features/schema.json. Feast's views, the training set and the
service all read that file, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NotRequired, TypedDict

import polars as pl
from pydantic import Field, field_validator

from augrec.core.config import BaseConfig
from augrec.core.errors import InputError
from augrec.core.files import read_json
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.features.timeline import DAY_US

SERVICE: Final = "recommendation_v1"
"""Feast's name for the set of features that models are trained on and served with; a changed set
gets a new name."""

EVENT_TIMESTAMP: Final = "event_timestamp"
"""A row's features are computed from interactions strictly before this time."""

SNAPSHOT: Final = "snapshot_us"
"""The same time as a number, µs since 1970: joined to rows, it says how old their features are."""

ENTITIES: Final = {"user": C.USER, "item": C.ITEM}
"""{kind of entity: its id column}; the table of a kind is `<kind>_features`."""

TYPES: Final[Mapping[str, pl.DataType]] = {
    "Int64": pl.Int64(),
    "Float32": pl.Float32(),
    "List(Float32)": pl.List(pl.Float32),
}

TASTES: Final[Mapping[str, str]] = {
    "taste_group": "Int64",
    "distance": "Float32",
    "group_users": "Int64",
    "group_share": "Float32",
}
"""A user's taste group and the distance to its centre, the group's training users and their share:
keys of `TYPES`. The stage `taste_groups` writes them, where groups are wanted."""

Days = Annotated[int, Field(gt=0)]


class Feature(TypedDict):
    """A feature's type (a key of `TYPES`) and its default where there is no value; None: stays
    null.

    `every_days`: days that pass add to the value, at every snapshot, also at those that are not
    stored; up to `most`.
    """

    type: str
    fill: int | float | list[float] | None
    every_days: NotRequired[int]
    most: NotRequired[float]


class FeaturesConfig(BaseConfig):
    """`features`: how feature tables are computed."""

    every_days: Days = 7
    """Days between two snapshots. Stored are those at which a count changes."""
    windows_days: Annotated[tuple[Days, ...], Field(min_length=1)] = (7, 30, 90)
    """Lengths of the windows over which activity is counted, days."""
    max_categories: Annotated[int, Field(gt=0)] = 20
    """Number of the most frequent categories that get a feature."""

    @field_validator("windows_days")
    @classmethod
    def _sorted(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(windows)))


def schema_of(config: FeaturesConfig) -> dict[str, dict[str, Feature]]:
    """The features of users and of items, in the order of the tables' columns."""
    longest = float(config.windows_days[-1])
    activity: dict[str, Feature] = {
        **{window_name(days): Feature(type="Int64", fill=0) for days in config.windows_days},
        "interactions_total": Feature(type="Int64", fill=0),
        "days_since_last": Feature(
            type="Float32", fill=longest, every_days=config.every_days, most=longest
        ),
        "mean_value": Feature(type="Float32", fill=None),
    }
    slots = Feature(type="List(Float32)", fill=[0.0] * config.max_categories)
    return {
        "user": {
            **activity,
            "n_categories": Feature(type="Int64", fill=0),
            "category_shares": slots,
        },
        "item": {
            **activity,
            "age_days": Feature(type="Float32", fill=0.0, every_days=config.every_days),
            "price": Feature(type="Float32", fill=None),
            "category_flags": slots,
        },
    }


def window_name(days: int) -> str:
    """The name of the count over the last `days` days."""
    return f"interactions_{days}d"


def read_schema(features: Path) -> dict[str, dict[str, Feature]]:
    """Read schema.json of a features folder.

    Raises:
        InputError: the features have not been built.
    """
    path = features / "schema.json"
    if not path.exists():
        raise InputError(
            "the features have not been built",
            where=str(path),
            fix="run `dvc repro features` first",
        )
    return read_json(path)


def grown(
    table: pl.DataFrame, schema: Mapping[str, Mapping[str, Feature]], time: str
) -> pl.DataFrame:
    """Columns `<kind>__<feature>` as of the latest snapshot at or before each row's time, whether
    that snapshot is stored or not.

    Args:
        table: rows, their features and, for each kind, `<kind>__snapshot_us`, which is dropped.
        schema: the features of each kind in the table.
        time: the column of the rows' times.
    """
    kinds = [kind for kind in schema if f"{kind}__{SNAPSHOT}" in table.columns]
    return table.with_columns(
        _grown(kind, name, feature, time)
        for kind in kinds
        for name, feature in schema[kind].items()
        if "every_days" in feature
    ).drop(f"{kind}__{SNAPSHOT}" for kind in kinds)


def _grown(kind: str, name: str, feature: Feature, time: str) -> pl.Expr:
    step = feature["every_days"] * DAY_US
    latest = pl.col(time).cast(TIME).to_physical() // step * step
    passed = (latest - pl.col(f"{kind}__{SNAPSHOT}")).clip(0) / DAY_US
    value = pl.col(f"{kind}__{name}")
    begun = pl.col(f"{kind}__interactions_total") > 0
    grown = (value + pl.when(begun).then(passed).otherwise(0.0)).clip(
        upper_bound=feature.get("most")
    )
    return grown.alias(f"{kind}__{name}")


def fill(table: pl.DataFrame, schema: Mapping[str, Mapping[str, Feature]]) -> pl.DataFrame:
    """Cast columns `<kind>__<feature>` to their type and replace nulls by the feature's default.

    `mean_value` and `price` have no default: no number would be right.
    """
    return table.with_columns(
        _filled(f"{kind}__{name}", feature)
        for kind, features in schema.items()
        for name, feature in features.items()
        if f"{kind}__{name}" in table.columns
    )


def _filled(column: str, feature: Feature) -> pl.Expr:
    kind = TYPES[feature["type"]]
    value = pl.col(column).cast(kind)
    return (
        value if feature["fill"] is None else value.fill_null(pl.lit(feature["fill"], dtype=kind))
    )


def data_period(workspace: Path) -> tuple[datetime, datetime]:
    """The times of the first and the last snapshot of a workspace's features.

    Raises:
        InputError: the features have not been built.
    """
    tables = [table_path(workspace, kind) for kind in ENTITIES]
    if missing := [str(path) for path in tables if not path.exists()]:
        raise InputError(
            "the features have not been built",
            where=", ".join(missing),
            fix="run `dvc repro features`",
        )
    times = pl.concat([pl.scan_parquet(path).select(EVENT_TIMESTAMP) for path in tables])
    column = pl.col(EVENT_TIMESTAMP)
    first, last = (
        times.select(column.min().alias("first"), column.max().alias("last")).collect().row(0)
    )
    return first, last


def tastes_path(workspace: Path) -> Path:
    """The file with the taste groups of users; without groups it is not there."""
    return workspace / "data" / "taste_groups" / "memberships.parquet"


def table_path(workspace: Path, kind: str) -> Path:
    """The file with the features of `kind`, "user" or "item"."""
    return workspace / "data" / "features" / f"{kind}_features.parquet"
