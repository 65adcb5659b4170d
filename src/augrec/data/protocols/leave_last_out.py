"""Leave-last-out: each user's last item is the test target, the one before it the validation
target."""

from __future__ import annotations

import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.cases import cases_of
from augrec.data.protocols._held_out import positions, roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class LeaveLastOut(Protocol):
    """All but a user's last two items are training rows; the test history is all but the last item.

    Users with fewer than three items are in the training rows only.
    """

    @property
    def rules(self) -> Rules:
        """A user's targets are their latest items; no user is held out."""
        return Rules(order="user", users_held_out=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`.

        Raises:
            ConfigError: `min_targets` is more than one.
        """
        if self.config.min_targets > 1:
            raise ConfigError(
                f"leave_last_out has one target in each case, min_targets is "
                f"{self.config.min_targets}",
                where="params.yaml, prepare.split.min_targets",
                fix="set min_targets to 1, or use the protocol held_out_users",
            )
        position, length = positions(table)
        from_last = length - 1 - position  # 0 is the last item
        judged = length >= 3
        valid, test = (
            cases_of(
                table,
                given=judged & (from_last > last),
                wanted=judged & (from_last == last),
                min_targets=1,
                max_history=self.config.max_history,
            )
            for last in (1, 0)
        )
        return Parts(table.filter(pl.Series(~judged | (from_last > 1))), valid, test, roles({}))
