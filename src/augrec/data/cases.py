"""Evaluation cases: a user at a point in time, their history before it and their items after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from augrec.data.columns import TIME, without_nan
from augrec.data.columns import Columns as C
from augrec.data.instants import Instants
from augrec.data.slices import slice_of

CASES: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    C.USER: pl.String,
    "slice": pl.String,
    "moment": TIME,
    "history": pl.List(pl.String),
    "targets": pl.List(pl.String),
}
"""`moment`: the time at which recommendations are made. `slice`: by the number of items before it.
`history`: oldest first, cut to the latest items. `targets`: in order of time, none of them in the
history. Targets that are not in the training data are kept: they count as misses for every
model."""


def user_features_of(cases: pl.DataFrame) -> pl.DataFrame | None:
    """Attributes and features of each case's user at its time: all columns but those of `CASES`;
    None: there are none."""
    attributes = without_nan(cases.drop(*CASES, strict=False))
    return attributes if attributes.width else None


def build_cases(
    rows: pl.DataFrame,
    begin: datetime,
    end: datetime | None,
    moments: Sequence[int],
    min_targets: int,
    max_history: int,
) -> pl.DataFrame:
    """The cases of the users in `rows` for the period [begin, end).

    Each user is evaluated at the start of the period, and after their n-th interaction for each n
    of `moments`, if that interaction is inside the period. If it shares its instant with the next
    one, the case is before that instant, or after it if the instant is the first of the period.
    Each slice of a user has only the earliest of these cases.

    Args:
        rows: all interactions of the held-out users, sorted by user and time; at most one for each
            user and item.
        begin: start of the period, included.
        end: end of the period, not included; None: open.
        moments: prefix lengths: numbers of interactions after which users are evaluated.
        min_targets: cases with fewer targets are left out.
        max_history: at most this number of the latest items are kept in a history.

    Returns:
        A table with the schema `CASES`, sorted by user and moment.
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
    lengths = _Lengths(Instants.of(rows), start, before, until)
    user, position = _positions(lengths, moments, min_targets)
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
    """At most one case for each user, from masks over their rows.

    Args:
        rows: interactions, sorted by user and time; at most one for each user and item.
        given: the rows of the histories, bool (n,); none of them shares its instant with a target.
        wanted: the rows of the targets, bool (n,).
        min_targets: users with fewer targets are left out.
        max_history: at most this number of the latest items are kept in a history.
        moment: the time of all cases; None: each user has their own.
        ordered: without `moment`: True for the time of the user's first target; False for the time
            right after the last item of the history, or the first time in `rows` if the history is
            empty.

    Returns:
        A table with the schema `CASES`, sorted by user.
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


@dataclass(frozen=True)
class _Lengths:
    """The rows of n users, int64 (n,) each: index of the first, number before the period, number
    before its end."""

    instants: Instants
    start: np.ndarray
    before: np.ndarray
    until: np.ndarray

    def after(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(user, position) of the cases after n interactions."""
        who = np.flatnonzero((self.before < n) & (n <= self.until))
        wanted = np.full(len(who), n, np.int64)
        return who, self.instants.boundary(self.start[who], self.before[who], wanted)


def _positions(
    lengths: _Lengths, moments: Sequence[int], min_targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """(user, position) of each case, int64 (n,) each: the user's first `position` interactions are
    the history."""
    # "after 0 interactions" inside the period is the start of the period with an empty history
    inside = [lengths.after(n) for n in sorted(set(moments)) if n > 0]
    user = np.concatenate([np.arange(len(lengths.before)), *(who for who, _ in inside)])
    position = np.concatenate([lengths.before, *(places for _, places in inside)]).astype(np.int64)
    cases = _earliest_in_slice(user, position)
    cases = cases[lengths.until[cases[:, 0]] - cases[:, 1] >= min_targets]
    return cases[:, 0], cases[:, 1]


def _earliest_in_slice(user: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The (user, position) pairs with the smallest position in each slice of each user; int64
    (n, 2), sorted."""
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
