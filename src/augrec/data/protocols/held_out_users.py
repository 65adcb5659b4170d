"""Held-out users with fold-in: strong generalisation, without a cut in time."""

from __future__ import annotations

import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.protocols._fold_in import fold_in_parts
from augrec.data.protocols._held_out import choose_users, roles
from augrec.data.protocols.base import TEST, VALID, Parts, Protocol, Rules


class HeldOutUsers(Protocol):
    """A share of the users is held out for each of test and validation (Marlin 2004, "strong
    generalisation").

    The oldest `fold_in` of their items are the history, all later ones the targets. That keeps each
    user's order, where Liang et al. 2018 (arXiv 1802.05814) draw the fold-in at random.
    """

    @property
    def rules(self) -> Rules:
        """Users of cases are held out; a user's targets are their latest items."""
        return Rules(order="user", users_held_out=True)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        users = table[C.USER].unique(maintain_order=True)
        test = choose_users(users, self.config.max_test_users, len(users), self.seed, TEST)
        others = users.filter(~users.is_in(test.implode()))
        valid = choose_users(others, self.config.max_valid_users, len(users), self.seed, VALID)
        return fold_in_parts(table, roles({VALID: valid, TEST: test}), self.config)
