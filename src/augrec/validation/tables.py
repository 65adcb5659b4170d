"""Validating a raw snapshot: rules, quarantine, window, expectations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from augrec.core.files import whole_directory, write_json, write_parquet
from augrec.data.columns import INTERACTIONS, ITEMS, USERS
from augrec.data.columns import Columns as C
from augrec.validation import reading
from augrec.validation.limits import Limits, Window, latest_of
from augrec.validation.quarantine import Verdict, judge
from augrec.validation.suites import Suite, kept_suite, rules_of, snapshot_suites

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The raw tables, read and typed.

    Attributes:
        interactions, items, users: canonical tables; rows not yet judged.
        taken_at: when the snapshot was taken; None where it does not say.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    taken_at: datetime | None


@dataclass(frozen=True)
class Judged:
    """A snapshot after rules and window.

    Attributes:
        verdicts: table -> its good and bad rows.
        kept: table -> the rows that may be used: good, and for interactions inside the window.
        suites: what is to be held against them.
        moment: a time for the report that depends on the data alone.
    """

    verdicts: dict[str, Verdict]
    kept: dict[str, pl.DataFrame]
    suites: list[Suite]
    moment: datetime

    def counts(self) -> dict[str, dict[str, int]]:
        """For each table how many rows there were, are good, are quarantined, and lie outside the
        window."""
        found = {}
        for name, verdict in self.verdicts.items():
            rows, good, kept = len(verdict.judged), len(verdict.good), len(self.kept[name])
            found[name] = {"rows": rows, "good": kept, "quarantined": rows - good}
            if name == "interactions":
                found[name]["out_of_window"] = good - kept
        return found


def read_snapshot(folder: Path) -> Snapshot:
    """Read data/raw.

    Raises:
        InputError: a file is missing, empty, cut off, or lacks columns; see `reading.read`.
    """
    interactions = reading.read(folder / "interactions.parquet", INTERACTIONS)
    further = [name for name in interactions.columns if name not in INTERACTIONS]
    if further:
        log.info("interactions have columns that nothing reads, left out: %s", ", ".join(further))
    return Snapshot(
        interactions.select(list(INTERACTIONS)),
        reading.read(folder / "items.parquet", ITEMS),
        reading.read(folder / "users.parquet", USERS),
        reading.taken_at(folder / "source.json"),
    )


def judge_snapshot(snapshot: Snapshot, limits: Limits, window: Window) -> Judged:
    """Apply the rules to every table, then the window to the good interactions. Linear in the
    rows."""
    latest = latest_of(limits, snapshot.taken_at)
    rules = rules_of(limits, latest)
    tables = {
        "interactions": snapshot.interactions,
        "items": snapshot.items,
        "users": snapshot.users,
    }
    verdicts = {name: judge(table, rules[name]) for name, table in tables.items()}
    kept = {name: verdict.good for name, verdict in verdicts.items()}
    kept["interactions"] = inside(kept["interactions"], window)
    suites = [
        *snapshot_suites(verdicts, rules, limits),
        kept_suite(kept["interactions"], kept["items"], limits),
    ]
    return Judged(verdicts, kept, suites, latest)


def inside(interactions: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The rows in [start, end)."""
    if window.start is not None:
        interactions = interactions.filter(pl.col(C.TIMESTAMP) >= window.start)
    if window.end is not None:
        interactions = interactions.filter(pl.col(C.TIMESTAMP) < window.end)
    return interactions


def write_quarantine(folder: Path, verdicts: dict[str, Verdict]) -> None:
    """Write data/quarantine: the bad rows of each table with their reasons, and counts.json."""
    with whole_directory(folder) as draft:
        for name, verdict in verdicts.items():
            write_parquet(draft / f"{name}.parquet", verdict.bad)
        write_json(
            draft / "counts.json", {name: verdict.counts for name, verdict in verdicts.items()}
        )


def write_kept(folder: Path, kept: dict[str, pl.DataFrame]) -> None:
    """Write data/validated."""
    with whole_directory(folder) as draft:
        for name, table in kept.items():
            write_parquet(draft / f"{name}.parquet", table)
