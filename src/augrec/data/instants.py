"""Instants: the rows of a user that share a timestamp, as in a basket, or on a day if times are
dates.

Nothing says in which order the rows of an instant happened. So no protocol cuts one: all of it is
history, or all of it is target. Their order in a table is pseudo-random (`tie_breaker`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.data.columns import TIME
from augrec.data.columns import Columns as C

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
ZONE_STEP_US: Final = _HOUR_US // 4
"""Midnight of every time zone is at a multiple of this in UTC, µs."""
_UNITS: Final = {"minutes": 60_000_000, "seconds": 1_000_000, "milliseconds": 1_000}
_MOST: Final = 0.9
"""The share of rows that decides on the resolution: a service adds its own, exact times to a table
of dates."""


@dataclass(frozen=True)
class Instants:
    """The instants of a table, in its order; int64 arrays.

    Attributes:
        number: (n_rows,) the instant of each row.
        first: (n,) the index of its first row.
        size: (n,) its number of rows.
        user: (n,) the number of its user, ascending.
        place: (n,) its position among the instants of its user.
        count: (n,) the number of instants of its user.
    """

    number: np.ndarray
    first: np.ndarray
    size: np.ndarray
    user: np.ndarray
    place: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, table: pl.DataFrame) -> Instants:
        """The instants of a table sorted by user and time."""
        user = table[C.USER].rle_id().to_numpy().astype(np.int64)
        times = table[C.TIMESTAMP].to_physical().to_numpy()
        begins = np.ones(len(table), np.bool_)
        begins[1:] = (user[1:] != user[:-1]) | (times[1:] != times[:-1])
        first = np.flatnonzero(begins)
        of_user = user[first]
        count = np.bincount(of_user)
        return cls(
            number=np.cumsum(begins) - 1,
            first=first,
            size=np.diff(np.append(first, len(table))),
            user=of_user,
            place=np.arange(len(first)) - (np.cumsum(count) - count)[of_user],
            count=count[of_user],
        )

    def __len__(self) -> int:
        return len(self.first)

    def boundary(self, begin: np.ndarray, least: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """How many of the first rows of each of m users cut no instant: at most the number that is
        wanted, or the next larger number if there is none above `least`.

        Args:
            begin: int64 (m,), the index of the user's first row.
            least: int64 (m,), a number of rows that cuts no instant.
            wanted: int64 (m,), more than `least`, at most all rows of the user.
        """
        instant = self.number[begin + wanted - 1]
        below, above = self.first[instant] - begin, self.first[instant] + self.size[instant] - begin
        return np.where((above == wanted) | (below <= least), above, below)

    def touching(self, rows: np.ndarray) -> np.ndarray:
        """The rows that share their instant with one of `rows`, both bool (n_rows,)."""
        return np.bincount(self.number, rows, minlength=len(self))[self.number] > 0


def tie_breaker(table: pl.DataFrame) -> pl.Series:
    """A pseudo-random number for each row, by its user and item: the same on every machine.

    The order that it gives the rows of an instant follows neither from the order of ids nor from
    that of the source, and is another one for every user, so that a sequence model finds nothing in
    it to learn.
    """
    mixed = _digests(table[C.USER]) ^ (_digests(table[C.ITEM]) * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return pl.Series("tie_breaker", mixed, dtype=pl.UInt64)


def in_order(table: pl.DataFrame, *more: str) -> pl.DataFrame:
    """The rows by user and time, those of an instant by `tie_breaker`, then by the columns
    `more`."""
    broken = table.with_columns(tie_breaker(table))
    return broken.sort(C.USER, C.TIMESTAMP, "tie_breaker", *more).drop("tie_breaker")


def time_facts(table: pl.DataFrame) -> dict[str, Any]:
    """What there is to know of the times of a table sorted by user and time.

    Returns:
        resolution: of nine rows of ten at least: "days" (also midnight in another zone), "hours",
        "minutes", "seconds", "milliseconds" or "microseconds". tied_rows, tied_share: rows that
        share their instant with another row of the user.
    """
    size = Instants.of(table).size
    tied = int(size[size > 1].sum())
    return {
        "resolution": resolution(table[C.TIMESTAMP]),
        "tied_rows": tied,
        "tied_share": round(tied / max(len(table), 1), 6),
    }


def in_words(facts: Mapping[str, Any], n_rows: int) -> str:
    """The facts of `time_facts`, of a table of `n_rows`, as a sentence."""
    begin = f"Times have the resolution of {facts['resolution']}; "
    if not facts["tied_rows"]:
        return f"{begin}no user has two interactions at the same time."
    return (
        f"{begin}{facts['tied_rows']:,} of {n_rows:,} interactions ({facts['tied_share']:.0%}) are "
        "at the same time as another one of the same user, and are never cut into history and "
        "targets."
    )


def resolution(times: pl.Series | pl.LazyFrame) -> str:
    """The resolution of times, see `time_facts`; of a LazyFrame its column `timestamp`, which is
    not read whole."""
    column = times if isinstance(times, pl.LazyFrame) else times.alias(C.TIMESTAMP).to_frame()
    moments = column.lazy().select(pl.col(C.TIMESTAMP).drop_nulls().cast(TIME).to_physical())
    at = pl.col(C.TIMESTAMP)
    of_day = (
        moments.filter(at % ZONE_STEP_US == 0)
        .group_by(at % _DAY_US)
        .len()
        .collect(engine="streaming")
    )
    counts = [(at % unit == 0).sum().alias(name) for name, unit in _UNITS.items()]
    known = moments.select(pl.len(), *counts).collect(engine="streaming").row(0, named=True)
    for name, unit, most in (("days", _DAY_US, 2), ("hours", _HOUR_US, 1)):
        # a zone with summer time has two midnights; elsewhere all begin at the same time
        frequent = of_day.group_by(at % unit).agg(pl.col("len").sum()).sort("len").tail(most)
        if frequent["len"].sum() >= _MOST * known["len"]:
            return name
    return next((name for name in _UNITS if known[name] >= _MOST * known["len"]), "microseconds")


def _digests(ids: pl.Series) -> np.ndarray:
    """64 bits for each id, uint64 (n,); the same for the same id."""
    known = ids.unique()
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in known]
    lookup = pl.DataFrame({"id": known, "digest": np.frombuffer(b"".join(digests), "<u8")})
    found = ids.alias("id").to_frame().join(lookup, on="id", how="left", maintain_order="left")
    return found["digest"].to_numpy()
