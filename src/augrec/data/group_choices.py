"""What groups chose, divided in time into what is known of them, validation and test; and what
their members had done before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from augrec.data.clean import firsts
from augrec.data.columns import REAL
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.group_tables import GroupTables
from augrec.data.protocols.base import TEST, VALID

KNOWN: Final = "known"
PERIOD: Final = "period"
"""Column of choices: "known", "valid" or "test"."""
SAME_OCCASION: Final = timedelta(days=1)
"""A member's row of an item that the group chose belongs to that choice if it is not older than
this: who watches with others often has it in a history of their own, a little earlier or later."""


class PreparedGroups(NamedTuple):
    """The tables of groups, prepared.

    Attributes:
        members: group_id, user_id.
        choices: group_id, item_id, timestamp, period; the first choice of each item.
        withheld: user_id, item_id of members' own rows of what their group chose for validation or
            test; no model learns from them.
    """

    members: pl.DataFrame
    choices: pl.DataFrame
    withheld: pl.DataFrame


def prepare_groups(
    tables: GroupTables,
    interactions: pl.DataFrame,
    config: PrepareConfig,
    cuts: tuple[datetime, datetime] | None,
) -> PreparedGroups:
    """Divide what groups chose at two moments.

    Args:
        tables: the validated tables.
        interactions: the cleaned ones, of users.
        config: what counts as a choice is what counts as interest of a user.
        cuts: when validation and test begin for users; None: the split has no such moments, and
            those of the choices are the same quantiles, valid_from and test_from.
    """
    canonical = tables.group_interactions.rename({C.GROUP: C.USER}).with_columns(
        pl.lit(REAL).alias(C.ORIGIN), pl.lit(1.0, pl.Float32).alias(C.WEIGHT)
    )
    rows = firsts(canonical, config.positive, [C.USER, C.ITEM]).rename({C.USER: C.GROUP})
    times = rows[C.TIMESTAMP]
    if cuts is None and len(rows):
        ordered = times.sort()
        valid, test = (
            ordered[int(share * (len(ordered) - 1))]
            for share in (config.split.valid_from, config.split.test_from)
        )
        cuts = valid, test
    period = pl.lit(KNOWN)
    if cuts is not None:
        at = pl.col(C.TIMESTAMP)
        period = pl.when(at >= cuts[1]).then(pl.lit(TEST))
        period = period.when(at >= cuts[0]).then(pl.lit(VALID)).otherwise(pl.lit(KNOWN))
    choices = rows.select(C.GROUP, C.ITEM, C.TIMESTAMP, period.alias(PERIOD))
    own = (
        choices.filter(pl.col(PERIOD) != KNOWN)
        .join(tables.groups, on=C.GROUP)
        .join(interactions.select(C.USER, C.ITEM, own=C.TIMESTAMP), on=[C.USER, C.ITEM])
        .filter(pl.col("own") >= pl.col(C.TIMESTAMP) - SAME_OCCASION)
    )
    withheld = own.select(C.USER, C.ITEM).unique().sort(C.USER, C.ITEM)
    return PreparedGroups(tables.groups, choices.sort(C.GROUP, C.TIMESTAMP, C.ITEM), withheld)


class Histories:
    """Users' items in order of time, without what is withheld.

    Args:
        interactions: user_id, item_id, timestamp.
        withheld: user_id, item_id.
    """

    def __init__(self, interactions: pl.DataFrame, withheld: pl.DataFrame) -> None:
        kept = interactions.join(withheld, on=[C.USER, C.ITEM], how="anti")
        lists = (
            kept.sort(C.USER, C.TIMESTAMP, C.ITEM)
            .group_by(C.USER, maintain_order=True)
            .agg(C.ITEM, pl.col(C.TIMESTAMP).to_physical())
        )
        self._rows = {
            user: (items, np.array(times, np.int64)) for user, items, times in lists.iter_rows()
        }

    def before(self, user: str, moment: datetime) -> list[str]:
        """What a user took before a moment, oldest first."""
        items, place = self._cut(user, moment)
        return items[:place]

    def since(self, user: str, moment: datetime) -> list[str]:
        """What a user took from a moment on."""
        items, place = self._cut(user, moment)
        return items[place:]

    def _cut(self, user: str, moment: datetime) -> tuple[list[str], int]:
        if user not in self._rows:
            return [], 0
        items, times = self._rows[user]
        at = pl.Series([moment]).cast(pl.Datetime("us", "UTC")).to_physical()[0]
        return items, int(np.searchsorted(times, at, side="left"))


@dataclass(frozen=True)
class GroupCase:
    """A group at the moment of its first choice of a period.

    Attributes:
        group: its id.
        members: their ids.
        moment: UTC; of the members, only what they took before is known.
        own: what the group chose before, oldest first.
        targets: what it chose in the period and had not chosen before.
    """

    group: str
    members: list[str]
    moment: datetime
    own: list[str]
    targets: list[str]


def group_cases(
    choices: pl.DataFrame, members: Mapping[str, Sequence[str]], period: str
) -> list[GroupCase]:
    """The cases of a period, "valid" or "test", by the id of the group.

    Args:
        choices: as in `PreparedGroups`.
        members: {group id: ids of members}.
        period: of the choices that are looked for.
    """
    found = []
    for (group,), rows in choices.group_by(C.GROUP, maintain_order=True):
        here = rows.filter(pl.col(PERIOD) == period)
        if here.is_empty() or group not in members:
            continue
        moment = here[C.TIMESTAMP].min()
        own = rows.filter(pl.col(C.TIMESTAMP) < moment)[C.ITEM].to_list()
        targets = [item for item in here[C.ITEM].to_list() if item not in set(own)]
        found.append(GroupCase(str(group), list(members[str(group)]), moment, own, targets))  # type: ignore[arg-type]
    return sorted(found, key=lambda one: one.group)


def members_of(groups: pl.DataFrame) -> dict[str, list[str]]:
    """{group id: ids of its members}, both in order."""
    lists = groups.sort(C.GROUP, C.USER).group_by(C.GROUP, maintain_order=True).agg(C.USER)
    return dict(lists.iter_rows())
