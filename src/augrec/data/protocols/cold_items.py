"""Cold items: how well a recommender ranks items that are not in its training rows."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from augrec.core.errors import RefusedError
from augrec.data.cases import cases_of
from augrec.data.columns import Columns as C
from augrec.data.instants import Instants
from augrec.data.protocols._held_out import by_digest, roles
from augrec.data.protocols._time_cuts import time_cuts
from augrec.data.protocols.base import Parts, Protocol, Rules


class ColdItems(Protocol):
    """Targets are items that are in no training row; the users' interactions with all other items
    are training rows.

    With `cold_share` null, time is cut as under `time`, and the items that first occur in a period
    are its cold items. With a share, that share of the items, drawn by the seed, is cold for test,
    and as many for validation; what shares an instant with a target is not in its history. The
    stage `evaluate` ranks new items only among themselves, because other items, which cannot be
    targets here, would take all positions. So only recommenders that know items outside the
    training rows can score above 0: content with `max_new_items`, and those built on it.
    """

    @property
    def rules(self) -> Rules:
        """Targets are new items; they are separated in time only if time is cut."""
        order = "global" if self.config.cold_share is None else "none"
        return Rules(order=order, users_held_out=False, new_items=True)  # type: ignore[arg-type]

    def parts(self, table: pl.DataFrame) -> Parts:
        """See `Protocol.parts`."""
        return self._by_cuts(table) if self.config.cold_share is None else self._by_share(table)

    def _by_cuts(self, table: pl.DataFrame) -> Parts:
        valid_from, test_from = time_cuts(table[C.TIMESTAMP], self.config)
        met = pl.col(C.TIMESTAMP)
        columns = table.select(
            before_valid=met < valid_from,
            before_test=met < test_from,
            born_valid=met.min().over(C.ITEM) >= valid_from,
            born_test=met.min().over(C.ITEM) >= test_from,
        )
        before_valid, before_test, born_valid, born_test = (column.to_numpy() for column in columns)
        return Parts(
            train=table.filter(pl.Series(before_valid)),
            cases_valid=self._cases(table, before_valid, born_valid & before_test, valid_from),
            cases_test=self._cases(table, before_test, born_test, test_from),
            held_out=roles({}),
            valid_from=valid_from,
            test_from=test_from,
        )

    def _by_share(self, table: pl.DataFrame) -> Parts:
        items = by_digest(table[C.ITEM].unique().sort(), self.seed, "cold items")
        n_cold = int((self.config.cold_share or 0) * len(items))
        if n_cold == 0:
            raise RefusedError(
                f"none of {len(items):,} items would be cold",
                where="prepare.split.cold_share in params.yaml",
                fix="raise it, or set it to null to take the items first met after the cuts",
            )
        test, valid = (
            table[C.ITEM].is_in(part.implode()).to_numpy()
            for part in (items.head(n_cold), items.slice(n_cold, n_cold))
        )
        instants = Instants.of(table)
        return Parts(
            train=table.filter(pl.Series(~test & ~valid)),
            cases_valid=self._cases(table, ~test & ~valid & ~instants.touching(valid), valid),
            cases_test=self._cases(table, ~test & ~instants.touching(test), test),
            held_out=roles({}),
        )

    def _cases(
        self,
        table: pl.DataFrame,
        given: np.ndarray,
        wanted: np.ndarray,
        moment: datetime | None = None,
    ) -> pl.DataFrame:
        config = self.config
        return cases_of(
            table,
            given=given,
            wanted=wanted,
            min_targets=config.min_targets,
            max_history=config.max_history,
            moment=moment,
            ordered=moment is not None,
        )
