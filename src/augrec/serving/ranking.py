"""The best items for a batch of requests, each with its own filters, in bounded memory.

Scores and order are the same as of `Recommender.recommend`, with less overhead: histories are
encoded with a dictionary, and filters and top k are applied row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from augrec.data.histories import Histories
from augrec.recommenders.base import Recommender
from augrec.serving.index import Index

NO_POSITIONS = np.zeros(0, np.int32)
Found = tuple[np.ndarray, np.ndarray]
"""Positions and scores, best first."""
_MAX_FROM_INDEX = 2_000
"""Maximum number of items to request from an index; for more, scoring all is as fast."""


@dataclass(slots=True)
class Query:
    """One request, as input of a model.

    Attributes:
        history: item ids, oldest first; unknown ids are ignored.
        k: number of items.
        exclude: positions of excluded items.
        among: positions of the allowed items; None: all.
        exclude_seen: exclude the items of the history.
        attributes: attributes, features and context of the user.
    """

    history: Sequence[str]
    k: int
    exclude: np.ndarray = field(default_factory=lambda: NO_POSITIONS)
    among: np.ndarray | None = None
    exclude_seen: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)


def positions(places: dict[str, int], items: Sequence[str]) -> np.ndarray:
    """Positions of items in the catalogue, int32 (n,); unknown items are left out."""
    return np.array([places[item] for item in items if item in places], np.int32)


def encode(
    queries: Sequence[Query], places: dict[str, int], attribute_types: dict[str, pl.DataType]
) -> Histories:
    """The queries' histories for a model whose items are at `places`.

    Args:
        queries: (n,).
        places: {item id: position}.
        attribute_types: {attribute of users: its type}.
    """
    encoded = [positions(places, query.history) for query in queries]
    indptr = np.zeros(len(queries) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=indptr[1:])
    items = np.concatenate(encoded) if encoded else NO_POSITIONS
    return Histories(
        users=np.arange(len(queries)).astype(str),
        indptr=indptr,
        items=items,
        weights=np.ones(len(items), np.float32),
        observed=np.ones(len(items), np.bool_),
        n_items=len(places),
        user_features=attribute_table([query.attributes for query in queries], attribute_types),
    )


def rank(
    model: Recommender,
    places: dict[str, int],
    queries: Sequence[Query],
    attribute_types: dict[str, pl.DataType],
    max_scores: int,
    index: Index | None = None,
) -> list[Found]:
    """The k best items of each query.

    Args:
        model: scores items.
        places: {item id: position in its catalogue}.
        queries: (n,).
        attribute_types: {attribute of users: its type}.
        max_scores: maximum number of scores in memory, at least those of one user.
        index: used for the queries that it can answer; None: all items are scored.

    Returns:
        For each query positions int (k',) and scores float32 (k',), best first; k' < k if fewer
        items are allowed.
    """
    found: dict[int, Found] = (
        {} if index is None else _from_index(index, places, queries, attribute_types)
    )
    remaining = [place for place in range(len(queries)) if place not in found]
    chunk = max(1, max_scores // max(1, len(places)))
    for start in range(0, len(remaining), chunk):
        part = remaining[start : start + chunk]
        histories = encode([queries[place] for place in part], places, attribute_types)
        table = model.score(histories)
        for row, place in enumerate(part):
            query = queries[place]
            seen = histories.items[histories.indptr[row] : histories.indptr[row + 1]]
            found[place] = top_k_of_row(_masked(table[row], query, seen), query.k)
    return [found[place] for place in range(len(queries))]


def _from_index(
    index: Index,
    places: dict[str, int],
    queries: Sequence[Query],
    attribute_types: dict[str, pl.DataType],
) -> dict[int, Found]:
    """{place of a query: items found by the index}, without queries that filter by category or for
    which too few items were found."""
    eligible = [place for place, one in enumerate(queries) if one.among is None]
    histories = encode([queries[place] for place in eligible], places, attribute_types)
    # without a history the recommender may use more than the vectors, e.g. attributes
    rows = np.flatnonzero(histories.lengths > 0)
    wanted = [queries[eligible[row]] for row in rows]
    left_out = [
        np.concatenate(
            [histories.items[histories.indptr[row] : histories.indptr[row + 1]], one.exclude]
        )
        if one.exclude_seen
        else one.exclude
        for row, one in zip(rows, wanted, strict=True)
    ]
    n = max(
        (one.k + len(without) for one, without in zip(wanted, left_out, strict=True)), default=0
    )
    if not 0 < n <= _MAX_FROM_INDEX:
        return {}
    positions, scores = index.nearest(histories.take(rows), n)
    found = {}
    for row, one, without, near, near_scores in zip(
        rows, wanted, left_out, positions, scores, strict=True
    ):
        kept = (near >= 0) & ~np.isin(near, without)
        near, near_scores = near[kept], near_scores[kept]
        if len(near) >= one.k:
            order = np.lexsort((near, -near_scores))[: one.k]
            found[eligible[row]] = near[order], near_scores[order]
    return found


def top_k_of_row(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the k largest scores, largest first, ties by position; without -inf.

    Args:
        scores: float32 (n,), without NaN.
        k: number of items.
    """
    if k < len(scores):
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > kth)
        tied = np.flatnonzero(scores == kth)[: k - len(above)]
        chosen = np.concatenate([above, tied])
        chosen.sort()
    else:
        chosen = np.arange(len(scores))
    values = scores[chosen]
    order = np.argsort(-values, kind="stable")
    chosen, values = chosen[order], values[order]
    kept = ~np.isneginf(values)
    return chosen[kept], values[kept]


def _masked(scores: np.ndarray, query: Query, seen: np.ndarray) -> np.ndarray:
    if query.among is not None:
        among = np.full(len(scores), -np.inf, np.float32)
        among[query.among] = scores[query.among]
        scores = among
    if query.exclude_seen:
        scores[seen] = -np.inf
    scores[query.exclude] = -np.inf
    return scores


def attribute_table(
    attributes: Sequence[dict[str, Any]], attribute_types: dict[str, pl.DataType]
) -> pl.DataFrame | None:
    """The attributes of n users as a table, None if no user has any.

    Args:
        attributes: {name: value} of each user; names that are not in `attribute_types` are ignored,
            values of another type become null.
        attribute_types: {name: type}.
    """
    if not any(name in attribute_types for one in attributes for name in one):
        return None
    columns = [
        pl.Series(name, [_typed(one.get(name), kind) for one in attributes], kind, strict=False)
        for name, kind in attribute_types.items()
    ]
    return pl.DataFrame(columns)


def _typed(value: Any, kind: pl.DataType) -> Any:
    """The value as the column's type, or None: no value of a client may make a model fail."""
    if value is None:
        return None
    try:
        if kind == pl.String:
            return str(value)
        if kind == pl.Boolean:
            return bool(value) if isinstance(value, bool | int) else None
        if kind.is_integer():
            whole = int(value)
            return whole if abs(whole) < 2**62 else None
        if kind.is_float():
            return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return value
