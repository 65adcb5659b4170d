"""Users' attributes as labels: a category as it is, a number as the bracket it falls in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from augrec.core.errors import InputError

FEATURE_PREFIX = "user__"
"""Columns of `Histories.user_features` with this prefix are features of the moment, the others
attributes."""


def numbers(values: pl.Series) -> pl.Series:
    """A column as numbers, Float64; null where it holds none, NaN and infinities among them."""
    found = values.cast(pl.Float64, strict=False)
    return found.set(~found.is_finite().fill_null(False), None)


def labels(values: pl.Series, edges: Sequence[float] | np.ndarray = ()) -> pl.Series:
    """A label for each user, String (n,), null where the attribute is unknown.

    Args:
        values: the attribute.
        edges: ascending; where there are any, the label is the number of edges at or below the
            value.

    Raises:
        InputError: the attribute holds lists or records.
    """
    if values.dtype.is_nested():
        raise InputError(
            f"the attribute {values.name} is {values.dtype}, and cannot group users",
            where="users table",
            fix="use an attribute of one text or number a user",
        )
    if not len(edges):
        filled = values.fill_nan(None) if values.dtype.is_float() else values
        return filled.cast(pl.String)
    found = numbers(values)
    bracket = np.searchsorted(np.asarray(edges), found.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(values.name, bracket).cast(pl.String).set(found.is_null(), None)
