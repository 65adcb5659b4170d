"""User attributes as labels: generators are conditioned on them, and the audit compares real and
synthetic users by them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

UNKNOWN = "unknown"
_UP_TO = "<="


def range_labels(edges: Iterable[float]) -> list[str]:
    """Labels of numeric ranges: one up to each edge, written with six digits, and one above the
    last edge."""
    written = sorted({f"{edge:g}" for edge in edges}, key=float)
    return [*(f"{_UP_TO}{edge}" for edge in written), f">{written[-1]}"]


def to_labels(column: pl.Series, labels: Iterable[str]) -> pl.Series:
    """Convert an attribute to String labels; UNKNOWN replaces null.

    Args:
        column: numbers, texts, categories or booleans.
        labels: the labels in use; if they are ranges, a number becomes the label of its range.
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
