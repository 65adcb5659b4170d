"""Domains that params.yaml declares, for counts that must not learn them from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.attribute_labels import UNKNOWN, range_labels, to_labels
from augrec.data.columns import Columns as C

_WHERE = "params.yaml, privacy.attributes"
_GROWTH = 1.3
_MOST_CELLS = 2**16


def length_bands(longest: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last length of each band, int64: single lengths at first, then each band starts 1.3
    times later."""
    low = [1]
    while low[-1] < longest:
        low.append(max(low[-1] + 1, int(low[-1] * _GROWTH)))
    firsts = np.array([one for one in low if one <= longest], np.int64)
    return firsts, np.append(firsts[1:] - 1, longest)


def declared_attributes(
    ids: np.ndarray,
    users: pl.DataFrame | None,
    declared: Mapping[str, Sequence[str] | Sequence[float]],
) -> tuple[dict[str, list[str]], np.ndarray]:
    """Labels of each declared attribute, the last being unknown, and codes int64 (n, attributes) of
    users `ids`.

    Raises:
        ConfigError: users have no such attribute, a number has no edges to cut at, or there are too
            many combinations.
    """
    labels, codes = {}, [np.empty((len(ids), 0), np.int64)]
    order = pl.DataFrame({C.USER: ids.tolist()}, schema={C.USER: pl.String})
    known = order if users is None else users.unique(C.USER, keep="first")
    joined = order.join(known, on=C.USER, how="left", maintain_order="left")
    for name, values in declared.items():
        if name not in joined.columns:
            raise ConfigError(
                f"users have no attribute {name!r}",
                where=_WHERE,
                fix=f"use {', '.join(joined.drop(C.USER).columns) or 'none'}",
            )
        labels[name], code = _codes(joined[name], values)
        codes.append(code[:, None])
    if np.prod([len(one) for one in labels.values()], dtype=np.float64) > _MOST_CELLS:
        raise ConfigError(
            "the declared attributes have too many combinations to count with noise",
            where=_WHERE,
            fix="declare fewer attributes or values",
        )
    return labels, np.concatenate(codes, axis=1)


def declared_cells(
    rows: pl.DataFrame, declared: Mapping[str, Sequence[float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Event str (m,) and value float (m,), NaN for none, of each declared cell; and each row's cell
    or -1.

    A row's value counts as the nearest declared one; rows of other events, or without a value where
    one is declared, have no cell.
    """
    if not declared:
        raise ConfigError(
            "no event is declared", where="params.yaml, privacy.events", fix="name the events"
        )
    events: list[str] = []
    values: list[float] = []
    cells = np.full(len(rows), -1, np.int64)
    given = rows[C.VALUE].cast(pl.Float64).fill_null(np.nan).to_numpy()
    for event, allowed in declared.items():
        points = np.array(sorted(allowed), np.float64)
        mine = (rows[C.EVENT] == event).fill_null(False).to_numpy()
        if len(points):
            mine &= np.isfinite(given)
            nearest = np.searchsorted((points[1:] + points[:-1]) / 2, given[mine])
        else:
            points, nearest = np.array([np.nan]), 0
        cells[mine] = len(values) + nearest
        events += [event] * len(points)
        values += points.tolist()
    return np.array(events, dtype=str), np.array(values), cells


def _codes(
    column: pl.Series, values: Sequence[str] | Sequence[float]
) -> tuple[list[str], np.ndarray]:
    labels = [str(value) for value in values]
    if column.dtype.is_numeric():
        edges = [value for value in values if isinstance(value, int | float)]
        if len(edges) < max(len(values), 1):
            raise ConfigError(
                f"{column.name} is a number",
                where=_WHERE,
                fix="give edges to cut it at, such as [25, 45]",
            )
        labels = range_labels(edges)
    names = [*dict.fromkeys(label for label in labels if label != UNKNOWN), UNKNOWN]
    known = {name: code for code, name in enumerate(names)}
    codes = to_labels(column, names).replace_strict(
        known, default=len(names) - 1, return_dtype=pl.Int64
    )
    return names, codes.to_numpy()
