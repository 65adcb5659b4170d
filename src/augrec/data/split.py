"""Splitting: training rows, and the cases that what was learnt from them is judged by.

A *case* is a user at a moment: what they had done before, what they did next. How cases and
training rows are made is the protocol's: see `augrec.data.protocols`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from augrec.core.errors import InputError, RefusedError
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.protocols.base import ROLE, TEST, VALID, Parts, Rules, protocol_of
from augrec.data.slices import SLICES, slice_of

__all__ = ["ROLE", "SLICES", "TEST", "VALID", "Split", "SplitConfig", "slice_of", "split"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """What `split` gives.

    Attributes:
        protocol: its name.
        rules: what it promises.
        first, last: the first and the last interaction, UTC.
        valid_from, test_from: the cuts, UTC; None where the protocol does not cut time for all
            alike.
        train: canonical interactions, sorted by user and time.
        cases_valid, cases_test: see `augrec.data.cases.CASES`.
        held_out: user_id, role ("valid" or "test"), sorted by user; empty where users of cases are
            trained on.
        counts: sizes for split.json and the report.
    """

    protocol: str
    rules: Rules
    first: datetime
    last: datetime
    valid_from: datetime | None
    test_from: datetime | None
    train: pl.DataFrame
    cases_valid: pl.DataFrame
    cases_test: pl.DataFrame
    held_out: pl.DataFrame
    counts: dict[str, Any]


def split(interactions: pl.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split clean interactions. The cost is linear in the interactions, but for sorting.

    Args:
        interactions: what `augrec.data.clean.clean` gives: a user meets an item once.
        config: the protocol and its knobs.
        seed: decides what is drawn: users, items or rows.

    Raises:
        ConfigError: there is no such protocol, or it cannot do what is asked.
        InputError: a user meets an item twice.
        RefusedError: there is nothing to learn from or nobody to judge by; the message says what to
            change.
    """
    _require_distinct(interactions)
    if interactions.is_empty():
        raise RefusedError(
            "there are no interactions to split",
            where="prepared interactions",
            fix="check data.window",
        )
    protocol = protocol_of(config, seed)
    table = interactions.sort([C.USER, C.TIMESTAMP], maintain_order=True)
    parts = protocol.parts(table)
    _require_something(parts)
    counts = _counts(table, parts)
    log.info("split by %s: %s", protocol.name(), counts)
    return Split(
        protocol=protocol.name(),
        rules=protocol.rules,
        first=table[C.TIMESTAMP].min(),  # type: ignore[arg-type]
        last=table[C.TIMESTAMP].max(),  # type: ignore[arg-type]
        counts=counts,
        **vars(parts),
    )


def _require_distinct(interactions: pl.DataFrame) -> None:
    require(interactions, INTERACTIONS, where="interactions to split")
    if interactions.select(C.USER, C.ITEM).is_duplicated().any():
        raise InputError(
            "a user meets the same item more than once",
            where="interactions to split",
            fix="pass them through augrec.data.clean.clean first",
        )


def _require_something(parts: Parts) -> None:
    if parts.train.is_empty():
        raise RefusedError(
            "no interaction is left to train on",
            where="prepare.split in params.yaml",
            fix="raise valid_from, or hold out fewer users (max_valid_users, max_test_users, "
            "folds)",
        )
    for role, cases in ((VALID, parts.cases_valid), (TEST, parts.cases_test)):
        if cases.is_empty():
            raise RefusedError(
                f"there is no {role} case: nobody did enough to be judged by",
                where="prepare.split in params.yaml",
                fix="lower min_targets, or make the period or the shares larger",
            )


def _counts(table: pl.DataFrame, parts: Parts) -> dict[str, Any]:
    known = parts.train.select(C.ITEM).unique()
    counts: dict[str, Any] = {"all": _sizes(table), "train": _sizes(parts.train)}
    for role, these in ((VALID, parts.cases_valid), (TEST, parts.cases_test)):
        targets = these.select(pl.col("targets").explode(empty_as_null=False).alias(C.ITEM))
        unknown = targets.join(known, on=C.ITEM, how="anti")
        slices = dict(these["slice"].value_counts().iter_rows())
        counts[role] = {
            "held_out_users": int((parts.held_out[ROLE] == role).sum()),
            "users": these[C.USER].n_unique(),
            "cases": len(these),
            "slices": {name: slices.get(name, 0) for name in SLICES},
            "targets": len(targets),
            "unknown_target_share": round(len(unknown) / len(targets), 6),
        }
    return counts


def _sizes(table: pl.DataFrame) -> dict[str, int]:
    return {
        "users": table[C.USER].n_unique(),
        "items": table[C.ITEM].n_unique(),
        "interactions": len(table),
    }
