"""A simulated set of a million ratings, dense and long-lived as a film site's: what defaults that
were found on small data break on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.canonical import canonical_tables
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C

N_USERS: Final = 6_000
N_ITEMS: Final = 3_700
_ACTIVITY: Final = (4.35, 1.15)
"""Mean and standard deviation of ln(ratings of a user less 20)."""
_MOST: Final = 2_000
_POPULARITY: Final = (0.0, 2.6)
"""Mean and standard deviation of the items' logits."""
_TASTES, _DECAY = 60, 0.8
"""Directions of taste, and how fast their weight falls: that of the k-th is k^-_DECAY."""
_STRENGTH, _SERIES_STRENGTH = 2.6, 1.4
"""Standard deviation, over items, of what taste adds to a logit, and of what a series adds."""
_SERIES, _PAGE = 4, 25
"""Items of a series, that are liked or not together, and of a page, that are rated one after
another."""


def ratings(seed: int, n_users: int = N_USERS, n_items: int = N_ITEMS) -> pl.DataFrame:
    """Canonical interactions, by user and time.

    A user takes as many items as activity says, without replacement, in proportion to exp(logit):
    popularity, plus many directions of taste of falling weight, plus the user's liking of the
    item's series. Items lie on pages; a user goes through pages in a random order that is likelier
    to go on to the next, and rates a page's items from top to bottom, so that the order tells much
    of what comes next and little of taste.
    """
    draw = rng(seed, "million")
    logits = np.sort(draw.normal(*_POPULARITY, n_items))[::-1].astype(np.float32)
    weight = np.arange(1, _TASTES + 1, dtype=np.float32) ** -_DECAY
    weight *= _STRENGTH / np.sqrt((weight**2).sum())
    items = draw.standard_normal((n_items, _TASTES), dtype=np.float32)
    series = draw.permutation(n_items) // _SERIES
    page = np.empty(n_items, np.int64)
    page[np.argsort(items[:, 0] + items[:, 1])] = np.arange(n_items) // _PAGE
    place = draw.permutation(n_items)
    counts = 20 + np.exp(draw.normal(*_ACTIVITY, n_users)).astype(np.int64)
    counts = counts.clip(max=min(_MOST, n_items // 2))
    begin = np.sort(draw.uniform(0, 900 * 86_400, n_users))
    users, taken, times = [], [], []
    for user, count in enumerate(counts):
        taste = draw.standard_normal(_TASTES, dtype=np.float32) * weight
        liking = draw.standard_normal(series.max() + 1, dtype=np.float32) * _SERIES_STRENGTH
        score = logits + items @ taste + liking[series]
        score += draw.gumbel(size=n_items).astype(np.float32)
        chosen = np.argpartition(-score, count)[:count]
        turn = _turns(page[chosen], draw)
        chosen = chosen[np.lexsort((place[chosen], turn))]
        users.append(np.full(count, user))
        taken.append(chosen)
        times.append(begin[user] + np.cumsum(draw.exponential(20.0, count)))
    start = datetime(2022, 1, 1, tzinfo=UTC).timestamp()
    micros = ((np.concatenate(times) + start) * 1e6).astype(np.int64)
    rows = pl.DataFrame(
        {
            C.USER: pl.Series(np.concatenate(users)).cast(pl.String),
            C.ITEM: pl.Series(np.concatenate(taken)).cast(pl.String),
            C.TIMESTAMP: pl.Series(micros).cast(TIME),
        }
    )
    return canonical_tables(rows.with_columns(pl.lit("rating").alias(C.EVENT))).interactions


def _turns(pages: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """When a user comes to each item's page: from a random page on, in runs of neighbouring
    pages."""
    n_pages = int(pages.max()) + 1
    first = draw.random(n_pages) < 0.2
    first[0] = True
    run = np.cumsum(first) - 1
    order = draw.permutation(run.max() + 1)
    return (order[run] * n_pages + np.arange(n_pages))[pages]
