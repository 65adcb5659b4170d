"""Random hold-out: a random share of each user's items, regardless of time."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.cases import cases_of
from augrec.data.protocols._held_out import positions, roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class RandomHoldOut(Protocol):
    """The share `target_share` of each user's items (rounded down, at least one) are test targets,
    and as many are validation targets.

    Users with fewer than three items, or fewer targets than `min_targets`, are in the training rows
    only. The validation history consists of the user's training rows; the test history also
    contains the validation targets.
    """

    @property
    def rules(self) -> Rules:
        """Targets may be at any time; no user is held out."""
        return Rules(order="none", users_held_out=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        position, length = positions(table)
        # position of each row among the rows of its user, in random order
        shuffled = np.empty(len(table), np.int64)
        drawn = rng(self.seed, "random", "hold-out").random(len(table))
        shuffled[np.lexsort((drawn, np.arange(len(table)) - position))] = position
        targets = np.maximum(1, (self.config.target_share * length).astype(np.int64))
        targets[(length < 3) | (targets < self.config.min_targets)] = 0
        test = shuffled < targets
        valid = ~test & (shuffled < 2 * targets)
        judged = targets > 0
        cases_valid, cases_test = (
            cases_of(
                table,
                given=judged & ~hidden,
                wanted=wanted,
                min_targets=self.config.min_targets,
                max_history=self.config.max_history,
                ordered=False,
            )
            for wanted, hidden in ((valid, valid | test), (test, test))
        )
        return Parts(table.filter(pl.Series(~valid & ~test)), cases_valid, cases_test, roles({}))
