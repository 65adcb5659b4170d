"""Global time split with held-out users: closest to production."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from augrec.data.cases import build_cases
from augrec.data.columns import Columns as C
from augrec.data.protocols._held_out import choose_users, roles, without
from augrec.data.protocols._time_cuts import time_cuts
from augrec.data.protocols.base import ROLE, TEST, VALID, Parts, Protocol, Rules


class TimeSplit(Protocol):
    """Time is cut twice, at valid_from and test_from; some of the users who are active after a cut
    are held out for its period.

    Training rows are those of all other users before valid_from, so that a model learns neither
    from the future nor from held-out users. An interaction at exactly a cut belongs to the later
    period. A held-out user is evaluated at the start of the period and after their n-th interaction
    for each n in `moments`.
    """

    @property
    def rules(self) -> Rules:
        """The cuts are the same for all users, and users of cases are held out."""
        return Rules(order="global", users_held_out=True)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        valid_from, test_from = time_cuts(table[C.TIMESTAMP], self.config)
        held_out = self._hold_out(table, valid_from, test_from)
        return Parts(
            train=without(table.filter(pl.col(C.TIMESTAMP) < valid_from), held_out),
            cases_valid=self._cases(table, held_out, VALID, valid_from, test_from),
            cases_test=self._cases(table, held_out, TEST, test_from, None),
            held_out=held_out,
            valid_from=valid_from,
            test_from=test_from,
        )

    def _hold_out(
        self, table: pl.DataFrame, valid_from: datetime, test_from: datetime
    ) -> pl.DataFrame:
        active = table.group_by(C.USER, maintain_order=True).agg(
            tested=(pl.col(C.TIMESTAMP) >= test_from).any(),
            validated=pl.col(C.TIMESTAMP).is_between(valid_from, test_from, closed="left").any(),
        )
        config, n_users = self.config, len(active)
        test = choose_users(
            active.filter("tested")[C.USER], config.max_test_users, n_users, self.seed, TEST
        )
        others = active.filter(pl.col("validated") & ~pl.col(C.USER).is_in(test.implode()))[C.USER]
        valid = choose_users(others, config.max_valid_users, n_users, self.seed, VALID)
        return roles({VALID: valid, TEST: test})

    def _cases(
        self,
        table: pl.DataFrame,
        held_out: pl.DataFrame,
        role: str,
        begin: datetime,
        end: datetime | None,
    ) -> pl.DataFrame:
        users = held_out.filter(pl.col(ROLE) == role)
        rows = table.join(users, on=C.USER, how="semi", maintain_order="left")
        config = self.config
        return build_cases(rows, begin, end, config.moments, config.min_targets, config.max_history)
