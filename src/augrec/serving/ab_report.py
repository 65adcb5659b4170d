"""Champion against challenger, judged by what users did: `augrec report ab`.

An answer counts where the user was assigned to the side that gave it; it was clicked if an event
names it and an item of it, and converted if such an event is a conversion. Users are the unit that
was assigned, so intervals are over users: the rate is a ratio of two means over users, its variance
by the delta method (Deng, Knoblich and Lu 2018, arXiv 1803.06336).
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import polars as pl

from augrec.core.errors import InputError
from augrec.data.served_events import SCHEMA

SIDES: Final = ("champion", "challenger")
_ANSWERS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "answer_id": pl.String,
    "at": pl.String,
    "kind": pl.String,
    "user_id": pl.String,
    "role": pl.String,
    "version": pl.String,
    "items": pl.List(pl.String),
}


@dataclass(frozen=True)
class Rate:
    """A share of answers, with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Side:
    """One side of the comparison."""

    versions: tuple[str, ...]
    users: int
    answers: int
    click_through: Rate
    conversion: Rate


@dataclass(frozen=True)
class Comparison:
    """Both sides, and challenger minus champion."""

    sides: dict[str, Side]
    click_through: Rate | None
    conversion: Rate | None
    shadowed: int
    """Answers of a challenger that nobody saw."""


def compare(
    answers: Path,
    events: Path,
    *,
    conversions: tuple[str, ...] = ("purchase",),
    since: str = "",
    confidence: float = 0.95,
) -> Comparison:
    """Judge the two sides.

    Args:
        answers: the folder of the answer log.
        events: the log of events.
        conversions: events that count as a conversion.
        since: only answers at or after this ISO time.
        confidence: of the intervals.

    Raises:
        InputError: no answer was logged.
    """
    shown = read_answers(answers)
    if since:
        shown = shown.filter(pl.col("at") >= since)
    assigned = shown.filter((pl.col("kind") == "assigned") & pl.col("user_id").is_not_null())
    assigned = assigned.filter(pl.col("role").is_in(SIDES))
    if assigned.is_empty():
        raise InputError(
            "no answer to a user has been logged",
            where=str(answers),
            fix="`augrec serve` logs them; a split is set under serving.rollout in params.yaml",
        )
    users = _by_user(assigned, _events(events), conversions)
    found = {name: users.filter(pl.col("role") == name) for name in SIDES}
    versions = dict(assigned.group_by("role").agg(pl.col("version").unique().sort()).iter_rows())
    sides = {
        name: Side(
            versions=tuple(versions[name]),
            users=len(table),
            answers=int(table["answers"].sum()),
            click_through=_rate(*_moments(table, "clicked"), confidence),
            conversion=_rate(*_moments(table, "converted"), confidence),
        )
        for name, table in found.items()
        if len(table)
    }
    both = len(sides) == len(SIDES)
    return Comparison(
        sides,
        _difference(found, "clicked", confidence) if both else None,
        _difference(found, "converted", confidence) if both else None,
        shown.filter(pl.col("kind") == "shadow").height,
    )


def read_answers(folder: Path) -> pl.DataFrame:
    """The answer log: who was shown what, and by whom. A line that a crash cut off is passed
    over."""
    parts = [
        pl.read_ndjson(path, schema=_ANSWERS, ignore_errors=True)
        for path in sorted(folder.glob("*.jsonl"))
        if path.stat().st_size
    ]
    table = pl.concat(parts) if parts else pl.DataFrame(schema=_ANSWERS)
    return table.drop_nulls(["answer_id", "kind", "role"])


def _events(path: Path) -> pl.DataFrame:
    kinds = {"answer_id": pl.String, "item_id": pl.String, "event": pl.String}
    if not path.exists():
        return pl.DataFrame(schema=kinds)
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.executescript(SCHEMA)
        rows = connection.execute(
            "select answer_id, item_id, event from events where answer_id is not null"
        ).fetchall()
    finally:
        connection.close()
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _by_user(
    assigned: pl.DataFrame, events: pl.DataFrame, conversions: tuple[str, ...]
) -> pl.DataFrame:
    """role, user_id, and how many answers they got, clicked, and converted on."""
    followed = (
        events.join(assigned.select("answer_id", "items"), on="answer_id")
        .filter(pl.col("item_id").is_in(pl.col("items")))
        .group_by("answer_id")
        .agg(converted=pl.col("event").is_in(conversions).any())
        .with_columns(clicked=pl.lit(True))
    )
    told = assigned.unique("answer_id").join(followed, on="answer_id", how="left")
    return told.group_by("role", "user_id").agg(
        answers=pl.len(),
        clicked=pl.col("clicked").fill_null(False).sum(),
        converted=pl.col("converted").fill_null(False).sum(),
    )


def _moments(users: pl.DataFrame, what: str) -> tuple[float, float]:
    """The rate and its variance."""
    answers, hits = users["answers"].cast(pl.Float64), users[what].cast(pl.Float64)
    rate = float(hits.sum()) / float(answers.sum())
    if len(users) < 2:
        return rate, math.inf
    residuals = hits - rate * answers
    mean: Any = answers.mean()
    return rate, float((residuals**2).sum()) / (len(users) - 1) / len(users) / mean**2


def _rate(value: float, variance: float, confidence: float) -> Rate:
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    return Rate(value, max(0.0, value - margin), min(1.0, value + margin))


def _difference(found: dict[str, pl.DataFrame], what: str, confidence: float) -> Rate:
    (ours, ours_variance), (theirs, theirs_variance) = (
        _moments(found[name], what) for name in reversed(SIDES)
    )
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(ours_variance + theirs_variance)
    return Rate(ours - theirs, ours - theirs - margin, ours - theirs + margin)
