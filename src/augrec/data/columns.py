"""Column names and types of the canonical tables. They are defined here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from augrec.core.errors import InputError

REAL: Final = "real"
"""The `origin` of interactions of real users."""

MAX_ID_LENGTH: Final = 256
"""Users and items with longer ids are neither imported nor served."""
CONTROL_CHARACTERS: Final = r"[\x00-\x1f\x7f]"
"""Characters that no id may have: NUL ends a text in some libraries, others break lines."""


class Columns:
    """Names used by every table."""

    USER: Final = "user_id"
    GROUP: Final = "group_id"
    ITEM: Final = "item_id"
    EVENT: Final = "event"
    VALUE: Final = "value"
    TIMESTAMP: Final = "timestamp"
    ORIGIN: Final = "origin"
    WEIGHT: Final = "weight"
    OBSERVED: Final = "observed"
    """Training sets only: False for a row that is a target and not part of the model's input."""
    NEGATIVE: Final = "negative"
    """Training sets only: True for an item that the user most likely saw and ignored. Such a row is
    not an interaction; pairwise recommenders may rank its item below the user's interactions."""
    OUTCOMES: Final = "outcomes"
    """Training sets only: later events of the same user and item, see `augrec.data.outcomes`; null:
    none."""

    TITLE: Final = "title"
    DESCRIPTION: Final = "description"
    CATEGORIES: Final = "categories"
    TAGS: Final = "tags"
    PRICE: Final = "price"


TIME = pl.Datetime("us", "UTC")

INTERACTIONS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    Columns.USER: pl.String,
    Columns.ITEM: pl.String,
    Columns.EVENT: pl.String,
    Columns.VALUE: pl.Float32,
    Columns.TIMESTAMP: TIME,
    Columns.ORIGIN: pl.String,
    Columns.WEIGHT: pl.Float32,
}
"""The table of interactions. `value` is the rating, price or dwell time of the event; null: it has
none."""

ITEMS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    Columns.ITEM: pl.String,
    Columns.TITLE: pl.String,
    Columns.DESCRIPTION: pl.String,
    Columns.CATEGORIES: pl.List(pl.String),
    Columns.TAGS: pl.List(pl.String),
    Columns.PRICE: pl.Float64,
}
"""Columns of every items table, null where unknown; a source may add more."""

USERS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {Columns.USER: pl.String}
"""Columns of every users table; a source adds its user attributes."""

GROUPS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    Columns.GROUP: pl.String,
    Columns.USER: pl.String,
}
"""Who decides together: one row for each member of a group. An optional table."""

GROUP_INTERACTIONS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    Columns.GROUP: pl.String,
    Columns.ITEM: pl.String,
    Columns.EVENT: pl.String,
    Columns.VALUE: pl.Float32,
    Columns.TIMESTAMP: TIME,
}
"""What groups chose; an optional table."""


def require(
    table: pl.DataFrame | pl.LazyFrame,
    schema: Mapping[str, pl.DataType | type[pl.DataType]],
    *,
    where: str,
) -> None:
    """Check that `table` has the columns of `schema` with their types.

    Raises:
        InputError: naming each missing column and each wrong type.
    """
    found = table.collect_schema()
    missing = [name for name in schema if name not in found]
    wrong = [
        f"{name} is {found[name]}, must be {kind}"
        for name, kind in schema.items()
        if name in found and found[name] != kind
    ]
    if missing or wrong:
        problems = [f"missing columns: {', '.join(missing)}"] if missing else []
        raise InputError(
            "; ".join(problems + wrong),
            where=where,
            fix=f"the table needs {', '.join(schema)}; check the column mapping under data.import "
            "in params.yaml",
        )


def without_nan(table: pl.DataFrame) -> pl.DataFrame:
    """Replace NaN by null: polars sorts NaN above every number and does not count it as missing."""
    return table.with_columns(pl.selectors.float().fill_nan(None))


def empty(schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A table of `schema` without rows."""
    return pl.DataFrame(schema=dict(schema))
