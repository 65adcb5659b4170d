"""Leave-last-out: each user's last item is the test target, the one before it the validation
target."""

from __future__ import annotations

import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.cases import cases_of
from augrec.data.protocols._held_out import positions, roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class LeaveLastOut(Protocol):
    """Everything but a user's last two items is trained on; the test history is all but the last
    item.

    Users of fewer than three items are trained on and not judged.
    """

    @property
    def rules(self) -> Rules:
        """A user's targets are their latest items; the user is trained on."""
        return Rules(order="user", strangers=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`.

        Raises:
            ConfigError: more than one target is asked for.
        """
        if self.config.min_targets > 1:
            raise ConfigError(
                f"leave_last_out leaves one target, {self.config.min_targets} are asked for",
                where="params.yaml, prepare.split.min_targets",
                fix="set min_targets to 1, or take the protocol held_out_users",
            )
        place, length = positions(table)
        from_last = length - 1 - place  # 0 is the last item
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
