"""Split interactions into training rows and evaluation cases.

A *case* is a user at a point in time: their history before it and their items after it. The
protocol decides which these are: see `augrec.data.protocols`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from augrec.core.errors import InputError, RefusedError
from augrec.core.seeds import rng
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.instants import Instants, in_words, time_facts
from augrec.data.protocols.base import ROLE, TEST, VALID, Parts, Rules, protocol_of
from augrec.data.slices import SLICES, slice_of

__all__ = ["ROLE", "SLICES", "TEST", "VALID", "Split", "SplitConfig", "slice_of", "split"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The result of `split`.

    Attributes:
        protocol: the protocol's name.
        rules: the properties that it guarantees.
        first, last: times of the first and the last interaction, UTC.
        valid_from, test_from: the cuts, UTC; None if the protocol has no common cuts in time.
        train: canonical interactions, sorted by user and time.
        cases_valid, cases_test: see `augrec.data.cases.CASES`.
        held_out: user_id, role ("valid" or "test"), sorted by user; empty if users of cases are
            also in the training rows.
        counts: sizes, and facts of the times, for split.json and the report.
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

    def without(self, pairs: pl.DataFrame) -> Split:
        """The split without the training rows of these pairs of user_id and item_id."""
        train = self.train.join(pairs, on=[C.USER, C.ITEM], how="anti", maintain_order="left")
        return replace(self, train=train, counts=self.counts | {"train": _sizes(train)})


def split(interactions: pl.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split clean interactions. The time is linear in the interactions, apart from sorting.

    Args:
        interactions: the result of `augrec.data.clean.clean`: at most one for each user and item.
        config: the protocol and its parameters.
        seed: for the random choice of users, items or rows.

    Raises:
        ConfigError: there is no such protocol, or it does not support the parameters.
        InputError: a user and an item have more than one interaction.
        RefusedError: all interactions share one timestamp, or there are no training rows or no
            cases; the message says what to change.
    """
    _require_distinct(interactions)
    if interactions.is_empty():
        raise RefusedError(
            "there are no interactions to split",
            where="prepared interactions",
            fix="check data.window",
        )
    _require_moments(interactions[C.TIMESTAMP])
    protocol = protocol_of(config, seed)
    table = interactions.sort([C.USER, C.TIMESTAMP], maintain_order=True)
    parts = protocol.parts(table)
    _require_something(table, parts)
    drawn = {role: _draw(parts.cases(role), role, config, seed) for role in (VALID, TEST)}
    parts = replace(parts, cases_valid=drawn[VALID], cases_test=drawn[TEST])
    counts = _counts(table, parts)
    for name in ("all", "train", VALID, TEST):
        sizes = {what: n for what, n in counts[name].items() if isinstance(n, int)}
        shown = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in sizes.items())
        log.info("split by %s, %s: %s", protocol.name(), name, shown)
    log.info("%s", in_words(counts["times"], len(table)))
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
            "a user has more than one interaction with the same item",
            where="interactions to split",
            fix="clean them first with augrec.data.clean.clean",
        )


def _require_moments(times: pl.Series) -> None:
    if times.n_unique() == 1:
        raise RefusedError(
            f"histories and targets cannot be separated: all {len(times):,} interactions share the "
            f"timestamp {times[0]}",
            where="prepared interactions, column timestamp",
            fix="import the time of each interaction, at least its date "
            "(data.import.interactions.timestamp in params.yaml)",
        )


def _require_something(table: pl.DataFrame, parts: Parts) -> None:
    if parts.train.is_empty():
        raise RefusedError(
            "no training row is left",
            where="prepare.split in params.yaml",
            fix="raise valid_from, or hold out fewer users (max_valid_users, max_test_users, "
            "folds)",
        )
    for role, cases in ((VALID, parts.cases_valid), (TEST, parts.cases_test)):
        if cases.is_empty():
            raise RefusedError(
                f"there is no {role} case: no user has enough interactions to be evaluated"
                + _single_instants(table),
                where="prepare.split in params.yaml",
                fix="lower min_targets, make the period or the shares larger, or use the protocol "
                "time, which evaluates users without a history too",
            )


def _single_instants(table: pl.DataFrame) -> str:
    instants = Instants.of(table)
    n_users, n_single = instants.user[-1] + 1, (instants.count == 1).sum()
    if not n_single:
        return ""
    return (
        f"; {n_single:,} of {n_users:,} users have all theirs at one timestamp, which is never cut "
        "into history and targets"
    )


def _draw(cases: pl.DataFrame, role: str, config: SplitConfig, seed: int) -> pl.DataFrame:
    """The cases of at most `max_evaluated_users` users, whichever they are."""
    users = cases[C.USER].unique().sort()
    n, most = len(users), config.max_evaluated_users
    if n <= most:
        return cases
    chosen = users.gather(rng(seed, "evaluated users", role).permutation(n)[:most])
    # widest for a metric that is 0 for one half of the users and 1 for the other
    width = 1.96 * math.sqrt((1 - most / n) / (4 * most))
    log.info(
        "of %s users with %s cases %s are drawn: with 95 %% confidence, the mean over them of a "
        "metric from 0 to 1 lies within %.4f of that over all",
        f"{n:,}",
        role,
        f"{most:,}",
        width,
    )
    return cases.filter(cases[C.USER].is_in(chosen.implode()))


def _counts(table: pl.DataFrame, parts: Parts) -> dict[str, Any]:
    trained = parts.train.select(C.ITEM).unique()
    counts: dict[str, Any] = {
        "all": _sizes(table),
        "times": time_facts(table),
        "train": _sizes(parts.train),
    }
    for role, these in ((VALID, parts.cases_valid), (TEST, parts.cases_test)):
        targets = these.select(pl.col("targets").explode(empty_as_null=False).alias(C.ITEM))
        unknown = targets.join(trained, on=C.ITEM, how="anti")
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
