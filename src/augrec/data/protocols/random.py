"""Random hold-out: a share of each user's items, wherever in time they lie."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.cases import cases_of
from augrec.data.protocols._held_out import positions, roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class RandomHoldOut(Protocol):
    """Of each user's items `target_share` (rounded down, at least one) become test targets, as many
    validation targets.

    Users with fewer than three items, or fewer targets than `min_targets`, are trained on and not
    judged. The validation history is what the user is trained on; the test history has the
    validation targets too.
    """

    @property
    def rules(self) -> Rules:
        """Targets lie anywhere in time; users are trained on."""
        return Rules(order="none", strangers=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        place, length = positions(table)
        shuffled = np.empty(
            len(table), np.int64
        )  # a row's place among its user's rows in random order
        drawn = rng(self.seed, "random", "hold-out").random(len(table))
        shuffled[np.lexsort((drawn, np.arange(len(table)) - place))] = place
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
