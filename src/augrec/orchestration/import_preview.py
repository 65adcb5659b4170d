"""What a run with the settings of now would make of raw tables: how many rows are valid, count as
interest, and become training rows and cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from augrec.core.config import parse
from augrec.core.errors import AugrecError, InputError
from augrec.data.canonical import LazyTables
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.group_tables import GroupTables
from augrec.data.split import split
from augrec.validation.config import ValidationConfig, read_config
from augrec.validation.snapshot import CheckedSnapshot, Snapshot, check_snapshot

log = logging.getLogger(__name__)

MOST_ROWS: Final = 2_000_000
"""Of larger tables no preview is made."""


def refuse_unknown_events(tables: LazyTables, config: ValidationConfig) -> None:
    """Refuse tables that no run would accept because of the names of their events.

    Raises:
        InputError: more rows than may be quarantined have an event that is not in
            `validation.events`. Fewer are a warning.
    """
    counts = tables.interactions.drop_nulls(C.EVENT).group_by(C.EVENT).len()
    events = counts.collect(engine="streaming").sort("len", C.EVENT, descending=[True, False])
    unknown = events.filter(~pl.col(C.EVENT).is_in(config.events))
    if unknown.is_empty():
        return
    n_unknown, n_rows = int(unknown["len"].sum()), int(events["len"].sum())
    names = ", ".join(f"{name!r} ({n:,})" for name, n in unknown.rows()[:8])
    what = (
        f"{n_unknown:,} of {n_rows:,} rows have events that validation.events does not "
        f"list: {names}"
    )
    fix = (
        "in params.yaml, map them under data.import.interactions.events to "
        f"{', '.join(config.events)}, or to null to leave them out, e.g. "
        f"{{{unknown[C.EVENT][0]}: {config.events[0]}}}; or add them to validation.events and "
        "prepare.positive"
    )
    if n_unknown > config.max_quarantined_share * n_rows:
        raise InputError(what, where="interactions, column event", fix=fix)
    log.warning("%s; %s", what, fix)


def preview(
    tables: LazyTables, params: Mapping[str, Any], groups: GroupTables | None = None
) -> list[tuple[str, str]]:
    """Subjects, and what a run would do with each; where it would refuse the tables, why. Of more
    than `MOST_ROWS` interactions nothing is said: it would take as long as the stages do."""
    found: list[tuple[str, str]] = []
    n_rows = tables.interactions.select(pl.len()).collect().item()
    if n_rows > MOST_ROWS:
        return [("not tried", f"with more than {MOST_ROWS:,} rows; the stage validate says it")]
    try:
        config, window = read_config(params)
        prepare = parse(PrepareConfig, params["prepare"], "prepare")
        checked = check_snapshot(
            Snapshot(*tables.collect(), datetime.now(UTC), groups), config, window
        )
        counts = checked.counts()["interactions"]
        found.append(("valid", f"{counts['good']:,} of {counts['rows']:,} rows"))
        for reason, n in checked.tables["interactions"].counts.items():
            found.append(("quarantined", f"{n:,}: {reason}"))
        if counts["quarantined"] > config.max_quarantined_share * counts["rows"]:
            found.append(
                (
                    "refused",
                    f"more than {config.max_quarantined_share:.0%} of the rows are quarantined "
                    "(validation.max_quarantined_share)",
                )
            )
        kept = checked.kept["interactions"]
        clean_rows = clean(
            kept, prepare.positive, min_item_interactions=prepare.min_item_interactions
        )
        found.append(("interest", _interest(kept, prepare, clean_rows)))
        parts = split(clean_rows, prepare.split, params["seed"]).counts
        train = parts["train"]
        found.append(("training", f"{train['interactions']:,} rows of {train['users']:,} users"))
        for role, word in (("valid", "validation"), ("test", "test")):
            slices = ", ".join(f"{name}: {n:,}" for name, n in parts[role]["slices"].items())
            found.append((word, f"{parts[role]['cases']:,} cases, by length of history {slices}"))
        if groups is not None:
            found += _together(checked)
    except AugrecError as error:
        found.append(("refused", f"{error.what}; {error.fix}"))
    return found


def _together(checked: CheckedSnapshot) -> list[tuple[str, str]]:
    """What becomes of the tables of groups."""
    counts = checked.counts()
    n = checked.kept["groups"][C.GROUP].n_unique()
    rows, choices = counts["groups"], counts["group_interactions"]
    found = [
        (
            "groups",
            f"{n:,} with {rows['good']:,} of {rows['rows']:,} members, {choices['good']:,} of "
            f"{choices['rows']:,} choices",
        )
    ]
    for name in ("groups", "group_interactions"):
        for reason, count in checked.tables[name].counts.items():
            found.append(("quarantined", f"{name.replace('_', ' ')}, {count:,}: {reason}"))
    return found


def _interest(rows: pl.DataFrame, config: PrepareConfig, clean_rows: pl.DataFrame) -> str:
    return (
        f"{len(clean_rows):,} pairs of user and item from {len(rows):,} rows "
        f"(prepare.positive: {', '.join(config.positive)})"
    )
