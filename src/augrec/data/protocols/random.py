"""Random hold-out: a random share of each user's items, regardless of time."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.cases import cases_of
from augrec.data.instants import Instants
from augrec.data.protocols._held_out import roles
from augrec.data.protocols.base import Parts, Protocol, Rules


class RandomHoldOut(Protocol):
    """Instants of each user are drawn in random order: the first, up to the share `target_share` of
    the user's items but at least one, are test targets, and as many validation targets.

    An instant is one item, unless items share a timestamp. Users with fewer than three instants, or
    fewer targets than `min_targets`, are in the training rows only. The validation history consists
    of the user's training rows; the test history also contains the validation targets.
    """

    @property
    def rules(self) -> Rules:
        """Targets may be at any time; no user is held out."""
        return Rules(order="none", users_held_out=False)

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        test, valid, judged = self._draw(Instants.of(table))
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

    def _draw(self, instants: Instants) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Test targets, validation targets and all rows of the users who have both; bool (n_rows,)
        each."""
        user, place, left = instants.user, instants.place, instants.count - instants.place
        drawn = rng(self.seed, "random", "hold-out").random(len(instants))
        order = np.lexsort((drawn, user))  # the same users in the same places
        size = instants.size[order]

        def of_user(values: np.ndarray) -> np.ndarray:
            return np.bincount(user, values).astype(np.int64)[user]

        most = np.maximum(1, (self.config.target_share * of_user(size)).astype(np.int64))
        passed = np.cumsum(size) - (np.cumsum(size) - size)[np.arange(len(user)) - place]
        # at least one instant each is left for validation and for training
        test = ((place == 0) | (passed <= most)) & (left > 2)
        rest = passed - of_user(size * test)
        valid = ((place == of_user(test)) | (rest <= most)) & ~test & (left > 1)
        least = np.minimum(of_user(size * test), of_user(size * valid))
        judged = (instants.count >= 3) & (least >= self.config.min_targets)
        found = []
        for part in (test & judged, valid & judged):
            rows = np.empty_like(part)
            rows[order] = part
            found.append(rows[instants.number])
        return found[0], found[1], judged[instants.number]
