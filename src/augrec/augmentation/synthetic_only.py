"""Drops every row of a real user: the rest can be shared, and a recommender is trained on it
alone."""

from __future__ import annotations

import polars as pl

from augrec.augmentation.base import Operation, PolicyInputs
from augrec.data.columns import REAL
from augrec.data.columns import Columns as C


class SyntheticOnly(Operation):
    """Leaves the users of generators' samples. A policy with it is refused if another operation
    brings real rows, and by the stage `augment` if a sample it names did not pass its audit: its
    rows are meant to be shared.

    A recommender that is trained on it uses real users in one place: validation users choose its
    checkpoint and, in a search, its values. Selectors of `mix` compare the sample with real users,
    and their selection discloses something of them; the audit covered the whole sample, not the
    selection. To share the rows, mix without selectors.
    """

    kind = "generated"
    drops_real_users = True
    adds_no_real_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """The rows that neither are real nor belong to a real user."""
        users = inputs.real.select(C.USER).unique()
        left = training.filter(pl.col(C.ORIGIN) != REAL)
        return left.join(users, on=C.USER, how="anti", maintain_order="left")
