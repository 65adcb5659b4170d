"""Leave-last-out: each user's last items are the test targets, those before them the validation
targets."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.data.cases import cases_of
from augrec.data.instants import Instants
from augrec.data.protocols._held_out import roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class LeaveLastOut(Protocol):
    """All but a user's last two instants are training rows; the test history is all but the last.

    An instant is one item, unless items share a timestamp. Users with fewer than three instants, or
    fewer than `min_targets` items in one of the last two, are in the training rows only.
    """

    @property
    def rules(self) -> Rules:
        """A user's targets are their latest items; no user is held out."""
        return Rules(order="user", users_held_out=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        instants = Instants.of(table)
        from_last = instants.count - 1 - instants.place  # 0 is the last instant
        small = (from_last < 2) & (instants.size < self.config.min_targets)
        judged = (instants.count >= 3) & (np.bincount(instants.user, small)[instants.user] == 0)
        from_last[~judged] = 3
        from_last = from_last[instants.number]
        valid, test = (
            cases_of(
                table,
                given=judged[instants.number] & (from_last > last),
                wanted=from_last == last,
                min_targets=self.config.min_targets,
                max_history=self.config.max_history,
            )
            for last in (1, 0)
        )
        return Parts(table.filter(pl.Series(from_last > 1)), valid, test, roles({}))
