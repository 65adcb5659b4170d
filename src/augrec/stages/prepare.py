"""Clean, de-duplicate and split by the protocol: data/validated -> data/prepared and
reports/splits."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.config import parse, read_params
from augrec.core.files import whole_directory, write_json, write_parquet
from augrec.core.memory import require_memory
from augrec.data.canonical import Tables, read_groups, read_tables
from augrec.data.clean import clean, first_events
from augrec.data.config import PrepareConfig
from augrec.data.group_choices import PreparedGroups, prepare_groups
from augrec.data.split import Split, split
from augrec.stages.runner import run

log = logging.getLogger(__name__)

VALIDATED, PREPARED, REPORT = Path("data/validated"), Path("data/prepared"), Path("reports/splits")
_BYTES_OF_A_ROW: Final = 490
"""Of memory, see benchmarks/results/stage_growth.md."""


def main() -> None:
    """Prepare the validated tables of the working directory; then hold the splits against their
    expectations."""
    params = read_params()
    config = parse(PrepareConfig, params["prepare"], "prepare")
    require_memory(
        VALIDATED / "interactions.parquet",
        _BYTES_OF_A_ROW,
        "set data.window to a shorter time, or take a machine with more memory",
    )
    tables = read_tables(VALIDATED)
    interactions = clean(
        tables.interactions, config.positive, min_item_interactions=config.min_item_interactions
    )
    events = first_events(tables.interactions, config.positive, interactions)
    parts = split(interactions, config.split, params["seed"])
    groups = read_groups(VALIDATED)
    together = None
    if groups is not None:
        cuts = (
            None
            if parts.valid_from is None or parts.test_from is None
            else (parts.valid_from, parts.test_from)
        )
        together = prepare_groups(groups, interactions, config, cuts)
        parts = parts.without(together.withheld)
    write_prepared(PREPARED, tables, interactions, events, parts, together)
    from augrec.validation import splits  # Great Expectations takes seconds to import

    splits.check(PREPARED, params, REPORT)


def write_prepared(
    folder: Path,
    tables: Tables,
    interactions: pl.DataFrame,
    events: pl.DataFrame,
    parts: Split,
    groups: PreparedGroups | None = None,
) -> None:
    """Write data/prepared, whole or not at all.

    Args:
        folder: data/prepared.
        tables: the validated ones; items and users are kept as they are.
        interactions: what `augrec.data.clean.clean` gives: one row for each user and item; all but
            heads go by it.
        events: what `augrec.data.clean.first_events` gives: one for each kind of event, for heads.
        parts: what `augrec.data.split.split` makes of the interactions.
        groups: people who decide together; None: there are no such tables.
    """
    summary: dict[str, Any] = {
        "protocol": parts.protocol,
        "rules": asdict(parts.rules),
        "valid_from": None if parts.valid_from is None else parts.valid_from.isoformat(),
        "test_from": None if parts.test_from is None else parts.test_from.isoformat(),
        "first": parts.first.isoformat(),
        "last": parts.last.isoformat(),
        "counts": parts.counts,
    }
    written = {
        "interactions": interactions,
        "events": events,
        "train": parts.train,
        "items": tables.items,
        "users": tables.users,
        "cases_valid": parts.cases_valid,
        "cases_test": parts.cases_test,
        "held_out": parts.held_out,
    }
    if groups is not None:
        written |= {
            "groups": groups.members,
            "group_choices": groups.choices,
            "group_withheld": groups.withheld,
        }
    with whole_directory(folder) as draft:
        for name, table in written.items():
            write_parquet(draft / f"{name}.parquet", table)
        write_json(draft / "split.json", summary)


if __name__ == "__main__":
    run(main)
