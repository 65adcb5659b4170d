"""The best items for many requests at once, each with its own filters, in bounded memory.

The same scores and the same order as `Recommender.recommend` gives; only the way in and out is
shorter: histories are encoded through a dictionary, each row is masked by itself, and the k best
are cut out row by row.
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

NONE = np.zeros(0, np.int32)
Found = tuple[np.ndarray, np.ndarray]
"""Positions and scores, best first."""
_NEAR = 2_000
"""An index is asked for so many items at most; beyond, scoring all is as fast."""


@dataclass(slots=True)
class Query:
    """One request as the model sees it.

    Attributes:
        history: item ids, oldest first; unknown ones are passed over.
        k: how many items.
        exclude: positions of items left out besides the history.
        among: positions of the only items allowed; None: all.
        exclude_seen: leave out the items of the history.
        known: what is known of the user at this moment.
    """

    history: Sequence[str]
    k: int
    exclude: np.ndarray = field(default_factory=lambda: NONE)
    among: np.ndarray | None = None
    exclude_seen: bool = True
    known: dict[str, Any] = field(default_factory=dict)


def positions(places: dict[str, int], items: Sequence[str]) -> np.ndarray:
    """Where items are in the catalogue, int32 (n,); unknown ones are left out."""
    return np.array([places[item] for item in items if item in places], np.int32)


def encode(
    queries: Sequence[Query], places: dict[str, int], kinds: dict[str, pl.DataType]
) -> Histories:
    """The queries' histories for a model whose items are at `places`.

    Args:
        queries: n of them.
        places: item id -> position.
        kinds: name and type of what may be known of users.
    """
    encoded = [positions(places, query.history) for query in queries]
    indptr = np.zeros(len(queries) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=indptr[1:])
    items = np.concatenate(encoded) if encoded else NONE
    return Histories(
        users=np.arange(len(queries)).astype(str),
        indptr=indptr,
        items=items,
        weights=np.ones(len(items), np.float32),
        observed=np.ones(len(items), np.bool_),
        n_items=len(places),
        known=known_table([query.known for query in queries], kinds),
    )


def rank(
    model: Recommender,
    places: dict[str, int],
    queries: Sequence[Query],
    kinds: dict[str, pl.DataType],
    max_scores: int,
    index: Index | None = None,
) -> list[Found]:
    """The k best items of each query.

    Args:
        model: who scores.
        places: item id -> position in its catalogue.
        queries: n of them.
        kinds: name and type of what may be known of users.
        max_scores: so many scores are held at once; at least one user's.
        index: asked first; None, and where it cannot tell: all items are scored.

    Returns:
        For each query positions int (k',) and scores float32 (k',), best first; k' < k where fewer
        items are left.
    """
    found: dict[int, Found] = {} if index is None else _near(index, places, queries, kinds)
    left = [place for place in range(len(queries)) if place not in found]
    together = max(1, max_scores // max(1, len(places)))
    for start in range(0, len(left), together):
        part = left[start : start + together]
        histories = encode([queries[place] for place in part], places, kinds)
        table = model.score(histories)
        for row, place in enumerate(part):
            query, seen = (
                queries[place],
                histories.items[histories.indptr[row] : histories.indptr[row + 1]],
            )
            found[place] = cut(_masked(table[row], query, seen), query.k)
    return [found[place] for place in range(len(queries))]


def _near(
    index: Index, places: dict[str, int], queries: Sequence[Query], kinds: dict[str, pl.DataType]
) -> dict[int, Found]:
    """What the index finds, by the query's place: not for filters by category and not where too
    little is left."""
    asked = [place for place, one in enumerate(queries) if one.among is None]
    histories = encode([queries[place] for place in asked], places, kinds)
    rows = np.flatnonzero(
        histories.lengths > 0
    )  # of the others the recommender may know more than the vectors tell
    wanted = [queries[asked[row]] for row in rows]
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
    if not 0 < n <= _NEAR:
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
            found[asked[row]] = near[order], near_scores[order]
    return found


def cut(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the k largest, largest first, ties to the smaller position; -inf is
    left out.

    Args:
        scores: float32 (n,), without NaN.
        k: how many.
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


def known_table(
    told: Sequence[dict[str, Any]], kinds: dict[str, pl.DataType]
) -> pl.DataFrame | None:
    """What is known of n users as recommenders want it, a row for each; None where nothing is known
    of any.

    Args:
        told: for each user {name: value}; names that `kinds` lacks are left out, values that do not
            fit become null.
        kinds: name and type of what may be known.
    """
    if not any(name in kinds for one in told for name in one):
        return None
    columns = [
        pl.Series(name, [_typed(one.get(name), kind) for one in told], kind, strict=False)
        for name, kind in kinds.items()
    ]
    return pl.DataFrame(columns)


def _typed(value: Any, kind: pl.DataType) -> Any:
    """A value that fits the column, or null: what a client sends must never stop a model."""
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
