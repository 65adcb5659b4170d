"""Attributes of people as labels: what generators condition on, and what real and synthetic people
are compared by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

UNKNOWN = "unknown"
_UP_TO = "<="


def range_labels(edges: Iterable[float]) -> list[str]:
    """Labels of the ranges that numbers are cut into: up to each edge, told in six digits, and
    above the last."""
    told = sorted({f"{edge:g}" for edge in edges}, key=float)
    return [*(f"{_UP_TO}{edge}" for edge in told), f">{told[-1]}"]


def to_labels(column: pl.Series, labels: Iterable[str]) -> pl.Series:
    """An attribute of anybody as String, UNKNOWN where there is none.

    Args:
        column: numbers, texts, categories or booleans.
        labels: those in use; if they name ranges, a number becomes the label of its range.
    """
    cut = (
        [label for label in labels if label.startswith(_UP_TO)] if column.dtype.is_numeric() else []
    )
    if not cut:
        return column.cast(pl.String).fill_null(UNKNOWN)
    edges = np.sort([float(label.removeprefix(_UP_TO)) for label in cut])
    names = np.array([*range_labels(edges), UNKNOWN])
    numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    places = np.where(np.isnan(numbers), len(names) - 1, np.searchsorted(edges, numbers))
    return pl.Series(column.name, names[places].tolist(), dtype=pl.String)
