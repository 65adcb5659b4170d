"""Cases: held-out users at a moment, what they had done before and what they did next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from augrec.data.columns import TIME, without_nan
from augrec.data.columns import Columns as C
from augrec.data.slices import slice_of

CASES: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    C.USER: pl.String,
    "slice": pl.String,
    "moment": TIME,
    "history": pl.List(pl.String),
    "targets": pl.List(pl.String),
}
"""`slice` by the number of items before the moment; `history` oldest first, cut to the latest;
`targets` in order of time, none of them in the history. Targets unknown to training stay: they
count as misses for every model."""


def known_of(cases: pl.DataFrame) -> pl.DataFrame | None:
    """What else is known of each case's user at that moment: the columns beside those of `CASES`;
    None: there are none."""
    known = without_nan(cases.drop(*CASES, strict=False))
    return known if known.width else None


def build_cases(
    rows: pl.DataFrame,
    begin: datetime,
    end: datetime | None,
    moments: Sequence[int],
    min_targets: int,
    max_history: int,
) -> pl.DataFrame:
    """The cases of the users in `rows` for the period [begin, end).

    Each user is judged at the moment the period begins, and after their n-th interaction for each n
    of `moments` where that interaction lies inside the period; once in each slice, at the earliest
    such moment.

    Args:
        rows: all interactions of the held-out users, sorted by user and time; a user meets an item
            once.
        begin: start of the period; an interaction at exactly this time lies inside.
        end: its end, not inside; None: open.
        moments: numbers of interactions.
        min_targets: cases with fewer targets are left out.
        max_history: so many of the latest items are kept in a history.

    Returns:
        A table of schema `CASES`, sorted by user and moment.
    """
    users = (
        rows.with_row_index("row")
        .group_by(C.USER, maintain_order=True)
        .agg(
            start=pl.col("row").first().cast(pl.Int64),
            before=(pl.col(C.TIMESTAMP) < begin).sum().cast(pl.Int64),
            until=(pl.col(C.TIMESTAMP) < end).sum().cast(pl.Int64)
            if end is not None
            else pl.len().cast(pl.Int64),
        )
    )
    start, before, until = (users[name].to_numpy() for name in ("start", "before", "until"))
    user, position = _positions(before, until, moments, min_targets)
    first = start[user]
    times = rows[C.TIMESTAMP]
    last_met = times.gather(np.maximum(first + position - 1, 0)) if len(user) else times.head(0)
    return pl.DataFrame(
        {
            C.USER: users[C.USER].gather(user),
            "slice": pl.Series(slice_of(position).tolist(), dtype=pl.String),
            "moment": last_met,
            "history": _lists(
                rows[C.ITEM], first + np.maximum(position - max_history, 0), first + position
            ),
            "targets": _lists(rows[C.ITEM], first + position, first + until[user]),
        },
        schema=dict(CASES),
    ).with_columns(
        moment=pl.when(pl.Series(position == before[user]))
        .then(pl.lit(begin, dtype=TIME))
        .otherwise(pl.col("moment"))
    )


def cases_of(
    rows: pl.DataFrame,
    *,
    given: np.ndarray,
    wanted: np.ndarray,
    min_targets: int,
    max_history: int,
    moment: datetime | None = None,
    ordered: bool = True,
) -> pl.DataFrame:
    """At most one case for each user, from marks on their rows.

    Args:
        rows: interactions, sorted by user and time; a user meets an item once.
        given: which rows make the history, bool (n,).
        wanted: which are the targets, bool (n,).
        min_targets: users with fewer targets are left out.
        max_history: so many of the latest items are kept in a history.
        moment: when all are judged; None: each user at a moment of their own.
        ordered: that moment is the first target's; otherwise it is right after the history's last
            item, or the first moment of all rows where there is no history.

    Returns:
        A table of schema `CASES`, sorted by user.
    """
    met = pl.col(C.TIMESTAMP)
    own = (
        met.filter("wanted").min()
        if ordered
        else met.filter("given").max() + pl.duration(microseconds=1)
    )
    return (
        rows.select(
            C.USER,
            C.ITEM,
            C.TIMESTAMP,
            given=pl.Series(given, dtype=pl.Boolean),
            wanted=pl.Series(wanted, dtype=pl.Boolean),
        )
        .filter(pl.col("given") | pl.col("wanted"))
        .group_by(C.USER, maintain_order=True)
        .agg(
            n_given=pl.col("given").sum().cast(pl.Int64),
            moment=own if moment is None else pl.lit(moment, dtype=TIME).first(),
            history=pl.col(C.ITEM).filter("given").tail(max_history),
            targets=pl.col(C.ITEM).filter("wanted"),
        )
        .filter(pl.col("targets").list.len() >= max(1, min_targets))
        .with_columns(
            pl.col("n_given")
            .map_batches(
                lambda n: pl.Series(slice_of(n.to_numpy()).tolist(), dtype=pl.String),
                return_dtype=pl.String,
            )
            .alias("slice"),
            pl.col("moment").fill_null(pl.lit(rows[C.TIMESTAMP].min(), dtype=TIME)).cast(TIME),
        )
        .select(pl.col(name).cast(kind) for name, kind in CASES.items())
    )


def _positions(
    before: np.ndarray, until: np.ndarray, moments: Sequence[int], min_targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """(user, position) of each case: the user's first `position` interactions are the history;
    int64 (n,) each."""
    # "after 0 interactions" inside the period is the moment it begins, with an empty history
    inside = [
        (np.flatnonzero((before < n) & (n <= until)), n) for n in sorted(set(moments)) if n > 0
    ]
    user = np.concatenate([np.arange(len(before)), *(who for who, _ in inside)])
    position = np.concatenate([before, *(np.full(len(who), n) for who, n in inside)]).astype(
        np.int64
    )
    cases = _earliest_in_slice(user, position)
    cases = cases[until[cases[:, 0]] - cases[:, 1] >= min_targets]
    return cases[:, 0], cases[:, 1]


def _earliest_in_slice(user: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Of (user, position) pairs the smallest position in each user's slice; int64 (n, 2),
    sorted."""
    order = np.lexsort((position, user))
    user, position = user[order], position[order]
    names = slice_of(position)
    first = np.ones(len(user), np.bool_)
    first[1:] = (user[1:] != user[:-1]) | (names[1:] != names[:-1])
    return np.stack([user[first], position[first]], axis=1).astype(np.int64)


def _lists(values: pl.Series, starts: np.ndarray, stops: np.ndarray) -> pl.Series:
    """List i holds values[starts[i] : stops[i]]."""
    lengths = stops - starts
    offsets = np.cumsum(lengths) - lengths
    flat = np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
    rows = pl.DataFrame(
        {"list": np.repeat(np.arange(len(starts)), lengths), "value": values.gather(flat)}
    )
    filled = rows.group_by("list", maintain_order=True).agg("value")
    return (
        pl.DataFrame({"list": np.arange(len(starts))})
        .join(filled, on="list", how="left", maintain_order="left")
        .select(pl.col("value").fill_null(pl.lit([], dtype=pl.List(pl.String))))["value"]
    )
