"""k-fold cross-validation over users: each user is a test user in exactly one fold."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.columns import Columns as C
from augrec.data.protocols._fold_in import fold_in_parts
from augrec.data.protocols._held_out import by_digest, roles
from augrec.data.protocols.base import TEST, VALID, Parts, Protocol, Rules


class KFold(Protocol):
    """The users of fold `fold` are test users, those of the next fold validation users, the others
    are training users.

    The folds depend on the seed, not on `fold`. Held-out users are evaluated as under
    held_out_users. A run evaluates one fold; `augrec.evaluation.cross_validation` evaluates all.
    """

    @property
    def rules(self) -> Rules:
        """Users of cases are held out; a user's targets are their latest items."""
        return Rules(order="user", users_held_out=True)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        folds, fold = self.config.folds, self.config.fold
        users = by_digest(table[C.USER].unique(maintain_order=True), self.seed, "folds")
        if len(users) < folds:
            raise RefusedError(
                f"{len(users):,} users cannot be divided into {folds} folds",
                where="prepare.split.folds in params.yaml",
                fix="use data with more users, or fewer folds",
            )
        fold_of = np.arange(len(users)) % folds
        parts = {
            role: users.filter(pl.Series(fold_of == number))
            for role, number in ((VALID, (fold + 1) % folds), (TEST, fold))
        }
        return fold_in_parts(table, roles(parts), self.config)
