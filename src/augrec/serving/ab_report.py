"""`augrec report ab`: click-through and conversion rates of champion and challenger.

Only answers to users who were assigned to the side count. An answer was clicked if an event has its
id and one of its items, and converted if such an event is a conversion. Users are the unit of
assignment, so intervals are over users: a rate is a ratio of two means over users, with its
variance by the delta method (Deng, Knoblich and Lu 2018, arXiv 1803.06336).
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
class ABReport:
    """Both sides, and challenger minus champion."""

    sides: dict[str, Side]
    click_through: Rate | None
    conversion: Rate | None
    shadowed: int
    """Number of challenger answers in shadow mode, which were logged but not shown."""


def compare(
    answers: Path,
    events: Path,
    *,
    conversions: tuple[str, ...] = ("purchase",),
    since: str = "",
    confidence: float = 0.95,
) -> ABReport:
    """Compare the two sides.

    Args:
        answers: directory of the answer log.
        events: file of the event log.
        conversions: events that count as a conversion.
        since: ISO time; earlier answers are ignored.
        confidence: level of the intervals.

    Raises:
        InputError: no answer to an assigned user was logged.
    """
    logged = read_answers(answers)
    if since:
        logged = logged.filter(pl.col("at") >= since)
    assigned = logged.filter((pl.col("kind") == "assigned") & pl.col("user_id").is_not_null())
    assigned = assigned.filter(pl.col("role").is_in(SIDES))
    if assigned.is_empty():
        raise InputError(
            "no answer to a user has been logged",
            where=str(answers),
            fix="`augrec serve` logs answers; set serving.rollout in params.yaml to split users",
        )
    users = _by_user(assigned, _events(events), conversions)
    by_side = {name: users.filter(pl.col("role") == name) for name in SIDES}
    versions = dict(assigned.group_by("role").agg(pl.col("version").unique().sort()).iter_rows())
    sides = {
        name: Side(
            versions=tuple(versions[name]),
            users=len(table),
            answers=int(table["answers"].sum()),
            click_through=_rate(*_rate_and_variance(table, "clicked"), confidence),
            conversion=_rate(*_rate_and_variance(table, "converted"), confidence),
        )
        for name, table in by_side.items()
        if len(table)
    }
    both = len(sides) == len(SIDES)
    return ABReport(
        sides,
        _difference(by_side, "clicked", confidence) if both else None,
        _difference(by_side, "converted", confidence) if both else None,
        logged.filter(pl.col("kind") == "shadow").height,
    )


def read_answers(folder: Path) -> pl.DataFrame:
    """The answers in a log directory. Lines that a crash truncated are skipped."""
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
    """role, user_id, and the numbers of answers, clicked answers and converted answers."""
    outcomes = (
        events.join(assigned.select("answer_id", "items"), on="answer_id")
        .filter(pl.col("item_id").is_in(pl.col("items")))
        .group_by("answer_id")
        .agg(converted=pl.col("event").is_in(conversions).any())
        .with_columns(clicked=pl.lit(True))
    )
    table = assigned.unique("answer_id").join(outcomes, on="answer_id", how="left")
    return table.group_by("role", "user_id").agg(
        answers=pl.len(),
        clicked=pl.col("clicked").fill_null(False).sum(),
        converted=pl.col("converted").fill_null(False).sum(),
    )


def _rate_and_variance(users: pl.DataFrame, what: str) -> tuple[float, float]:
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


def _difference(by_side: dict[str, pl.DataFrame], what: str, confidence: float) -> Rate:
    champion, champion_variance = _rate_and_variance(by_side["champion"], what)
    challenger, challenger_variance = _rate_and_variance(by_side["challenger"], what)
    difference = challenger - champion
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(
        champion_variance + challenger_variance
    )
    return Rate(difference, difference - margin, difference + margin)
