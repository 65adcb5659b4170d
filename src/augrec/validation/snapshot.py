"""Validates a raw snapshot: rules, quarantine, window, expectations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from augrec.core.files import whole_directory, write_json, write_parquet
from augrec.data.columns import INTERACTIONS, ITEMS, USERS
from augrec.data.columns import Columns as C
from augrec.data.group_tables import GROUP_SCHEMAS, GroupTables, has_groups
from augrec.validation import reading
from augrec.validation.config import ValidationConfig, WindowConfig, latest_timestamp
from augrec.validation.groups import check_groups, kept_groups
from augrec.validation.quarantine import CheckedTable, apply_rules
from augrec.validation.suites import Suite, kept_suite, rules_of, snapshot_suites

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The raw tables in the canonical types.

    Attributes:
        interactions, items, users: the tables, before any rule is applied.
        taken_at: when the snapshot was taken; None if it is not recorded.
        groups: people who decide together; None: there are no such tables.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    taken_at: datetime | None
    groups: GroupTables | None = None


@dataclass(frozen=True)
class CheckedSnapshot:
    """A snapshot after rules and window.

    Attributes:
        tables: {table: its rows with the reasons}.
        kept: {table: the rows that may be used}: valid, and for interactions inside the window.
        suites: the expectations to run on it.
        moment: time for the report, which depends on the data alone.
    """

    tables: dict[str, CheckedTable]
    kept: dict[str, pl.DataFrame]
    suites: list[Suite]
    moment: datetime

    def counts(self) -> dict[str, dict[str, int]]:
        """{table: {"rows", "good", "quarantined"}}, for events also "out_of_window"."""
        found = {}
        for name, table in self.tables.items():
            rows, good, kept = len(table.rows), table.n_good, len(self.kept[name])
            found[name] = {"rows": rows, "good": kept, "quarantined": rows - good}
            if name in ("interactions", "group_interactions"):
                found[name]["out_of_window"] = good - kept
        return found


def read_snapshot(folder: Path) -> Snapshot:
    """Read data/raw.

    Raises:
        InputError: a file is missing, empty, truncated, or lacks columns; see `reading.read`.
    """
    interactions = reading.read(folder / "interactions.parquet", INTERACTIONS)
    further = [name for name in interactions.columns if name not in INTERACTIONS]
    if further:
        log.info("unused columns of interactions are dropped: %s", ", ".join(further))
    return Snapshot(
        interactions.select(list(INTERACTIONS)),
        reading.read(folder / "items.parquet", ITEMS),
        reading.read(folder / "users.parquet", USERS),
        reading.taken_at(folder / "source.json"),
        _read_groups(folder),
    )


def _read_groups(folder: Path) -> GroupTables | None:
    if not has_groups(folder):
        return None
    read = {
        name: reading.read(folder / f"{name}.parquet", schema).select(list(schema))
        for name, schema in GROUP_SCHEMAS.items()
    }
    return GroupTables(**read)


def check_snapshot(
    snapshot: Snapshot, config: ValidationConfig, window: WindowConfig
) -> CheckedSnapshot:
    """Apply the rules to every table, then the window to the valid interactions, in linear time."""
    latest = latest_timestamp(config, snapshot.taken_at)
    rules = rules_of(config, latest)
    tables = {
        "interactions": snapshot.interactions,
        "items": snapshot.items,
        "users": snapshot.users,
    }
    checked = {name: apply_rules(table, rules[name]) for name, table in tables.items()}
    kept = {name: table.good for name, table in checked.items()}
    kept["interactions"] = inside(kept["interactions"], window)
    suites = [
        *snapshot_suites(checked, rules, config),
        kept_suite(kept["interactions"], kept["items"], config),
    ]
    if snapshot.groups is not None:
        together, of_groups = check_groups(snapshot.groups, kept, config, latest)
        checked |= together
        kept |= kept_groups(together)
        kept["group_interactions"] = inside(kept["group_interactions"], window)
        suites += of_groups
    return CheckedSnapshot(checked, kept, suites, latest)


def inside(interactions: pl.DataFrame, window: WindowConfig) -> pl.DataFrame:
    """The rows in [start, end)."""
    if window.start is not None:
        interactions = interactions.filter(pl.col(C.TIMESTAMP) >= window.start)
    if window.end is not None:
        interactions = interactions.filter(pl.col(C.TIMESTAMP) < window.end)
    return interactions


def write_quarantine(folder: Path, tables: dict[str, CheckedTable]) -> None:
    """Write data/quarantine: the invalid rows of each table with their reasons, and counts.json."""
    with whole_directory(folder) as draft:
        for name, table in tables.items():
            write_parquet(draft / f"{name}.parquet", table.bad)
        write_json(draft / "counts.json", {name: table.counts for name, table in tables.items()})


def write_kept(folder: Path, kept: dict[str, pl.DataFrame]) -> None:
    """Write data/validated: the tables that the next stage reads."""
    with whole_directory(folder) as draft:
        for name, table in kept.items():
            write_parquet(draft / f"{name}.parquet", table)
