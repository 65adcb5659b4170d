"""The split in time, by user: training rows, held-out users, and the cases they are judged by.

Time is cut twice, at T_valid and T_test. Some of the users active after a cut are held out for it; nothing of theirs is
ever trained on. Training rows are those before T_valid of everybody else, so neither the future nor a held-out person
can be learnt. An interaction at exactly a cut belongs to the later period.

A *case* is a held-out user at a moment: what they had done before, what they did next.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from augrec.data.cases import build_cases
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.slices import SLICES, slice_of
from augrec.errors import InputError, RefusedError

__all__ = ["ROLE", "SLICES", "TEST", "VALID", "Split", "SplitConfig", "slice_of", "split"]

log = logging.getLogger(__name__)

VALID: Final = "valid"
TEST: Final = "test"
ROLE: Final = "role"


@dataclass(frozen=True)
class Split:
    """What `split` gives.

    Attributes:
        first, valid_from, test_from, last: the first interaction, the two cuts, the last interaction; UTC.
        train: canonical interactions, sorted by user and time.
        cases_valid, cases_test: see `augrec.data.cases.CASES`.
        held_out: user_id, role ("valid" or "test"), sorted by user.
        counts: sizes for split.json and the report.
    """

    first: datetime
    valid_from: datetime
    test_from: datetime
    last: datetime
    train: pl.DataFrame
    cases_valid: pl.DataFrame
    cases_test: pl.DataFrame
    held_out: pl.DataFrame
    counts: dict[str, Any]


def split(interactions: pl.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split clean interactions. The cost is linear in the interactions, but for one sort.

    Args:
        interactions: what `augrec.data.clean.clean` gives: a user meets an item once.
        config: where to cut and how many users to hold out.
        seed: decides which users are held out where more qualify than are allowed.

    Raises:
        InputError: a user meets an item twice.
        RefusedError: a period has no rows or nobody to judge by; the message says what to change.
    """
    _require_distinct(interactions)
    table = interactions.sort([C.USER, C.TIMESTAMP], maintain_order=True)
    first, valid_from, test_from, last = _cuts(table[C.TIMESTAMP], config)
    held_out = _hold_out(table, valid_from, test_from, config, seed)
    train = table.filter(pl.col(C.TIMESTAMP) < valid_from).join(
        held_out, on=C.USER, how="anti", maintain_order="left"
    )
    if train.is_empty():
        raise RefusedError(
            "no interaction is left to train on",
            where=f"before {valid_from:%Y-%m-%d %H:%M:%S} UTC",
            fix="raise prepare.split.valid_from, or hold out fewer users (max_valid_users, max_test_users)",
        )
    cases = {
        VALID: _cases(table, held_out, VALID, valid_from, test_from, config),
        TEST: _cases(table, held_out, TEST, test_from, None, config),
    }
    counts = _counts(table, train, held_out, cases)
    log.info("split at %s and %s: %s", valid_from.isoformat(), test_from.isoformat(), counts)
    return Split(first, valid_from, test_from, last, train, cases[VALID], cases[TEST], held_out, counts)


def _require_distinct(interactions: pl.DataFrame) -> None:
    require(interactions, INTERACTIONS, where="interactions to split")
    if interactions.select(C.USER, C.ITEM).is_duplicated().any():
        raise InputError(
            "a user meets the same item more than once",
            where="interactions to split",
            fix="pass them through augrec.data.clean.clean first",
        )


def _cases(
    table: pl.DataFrame,
    held_out: pl.DataFrame,
    role: str,
    begin: datetime,
    end: datetime | None,
    config: SplitConfig,
) -> pl.DataFrame:
    users = held_out.filter(pl.col(ROLE) == role)
    rows = table.join(users, on=C.USER, how="semi", maintain_order="left")
    cases = build_cases(rows, begin, end, config.moments, config.min_targets, config.max_history)
    if cases.is_empty():
        raise RefusedError(
            f"there is no {role} case: none of {len(users):,} held-out users did enough in that period",
            where="prepare.split in params.yaml",
            fix="lower min_targets, or make the period longer",
        )
    return cases


def _cuts(times: pl.Series, config: SplitConfig) -> tuple[datetime, datetime, datetime, datetime]:
    if config.valid_from >= config.test_from:
        raise RefusedError(
            f"validation would begin at quantile {config.valid_from}, not before test at {config.test_from}",
            where="params.yaml, prepare.split",
            fix="keep valid_from below test_from",
        )
    if times.is_empty():
        raise RefusedError(
            "there are no interactions to split", where="prepared interactions", fix="check data.window"
        )
    ordered = times.sort()
    first = ordered[0]
    valid_from = ordered[int(config.valid_from * (len(ordered) - 1))]
    test_from = ordered[int(config.test_from * (len(ordered) - 1))]
    if not first < valid_from < test_from:
        empty = "training" if valid_from == first else "validation"
        raise RefusedError(
            f"the {empty} period is empty: too many interactions share one timestamp",
            where=f"first {first}, {VALID} from {valid_from}, {TEST} from {test_from}, last {ordered[-1]}",
            fix="check that the timestamps are real and of the right unit (data.import), or move "
            "prepare.split.valid_from and test_from apart",
        )
    return first, valid_from, test_from, ordered[-1]


def _hold_out(
    table: pl.DataFrame, valid_from: datetime, test_from: datetime, config: SplitConfig, seed: int
) -> pl.DataFrame:
    """Users and their roles: user_id, role."""
    last = table.group_by(C.USER, maintain_order=True).agg(
        tested=(pl.col(C.TIMESTAMP) >= test_from).any(),
        validated=pl.col(C.TIMESTAMP).is_between(valid_from, test_from, closed="left").any(),
    )
    test = _choose(last.filter("tested")[C.USER], config.max_test_users, len(last), seed, TEST)
    active = last.filter(pl.col("validated") & ~pl.col(C.USER).is_in(test.implode()))[C.USER]
    valid = _choose(active, config.max_valid_users, len(last), seed, VALID)
    return pl.DataFrame(
        {C.USER: pl.concat([valid, test]), ROLE: [VALID] * len(valid) + [TEST] * len(test)},
        schema={C.USER: pl.String, ROLE: pl.String},
    ).sort(C.USER)


def _choose(users: pl.Series, share: float, n_users: int, seed: int, role: str) -> pl.Series:
    """The users with the smallest hash: who is held out does not depend on who else is in the table's order."""
    most = int(share * n_users)
    if users.is_empty() or most == 0:
        raise RefusedError(
            f"nobody can be held out for {role}: {len(users):,} of {n_users:,} users were active in that period, "
            f"{most:,} may be held out",
            where=f"prepare.split.max_{role}_users in params.yaml",
            fix="bring more users (at least ten), a longer period, or raise that share",
        )
    key = hashlib.blake2b(f"{seed} {role}".encode(), digest_size=16).digest()
    digests = [hashlib.blake2b(user.encode(), digest_size=8, key=key).hexdigest() for user in users]
    return pl.DataFrame({C.USER: users, "digest": digests}).sort("digest", C.USER)[C.USER].head(most)


def _counts(
    table: pl.DataFrame, train: pl.DataFrame, held_out: pl.DataFrame, cases: dict[str, pl.DataFrame]
) -> dict[str, Any]:
    known = train.select(C.ITEM).unique()
    counts: dict[str, Any] = {"all": _sizes(table), "train": _sizes(train)}
    for role, these in cases.items():
        targets = these.select(pl.col("targets").explode(empty_as_null=False).alias(C.ITEM))
        unknown = targets.join(known, on=C.ITEM, how="anti")
        slices = dict(these["slice"].value_counts().iter_rows())
        counts[role] = {
            "held_out_users": int((held_out[ROLE] == role).sum()),
            "users": these[C.USER].n_unique(),
            "cases": len(these),
            "slices": {name: slices.get(name, 0) for name in SLICES},
            "targets": len(targets),
            "unknown_target_share": round(len(unknown) / len(targets), 6),
        }
    return counts


def _sizes(table: pl.DataFrame) -> dict[str, int]:
    return {"users": table[C.USER].n_unique(), "items": table[C.ITEM].n_unique(), "interactions": len(table)}
