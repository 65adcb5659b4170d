"""Strangers judged by the later part of their own record, given the earlier one."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.data.cases import cases_of
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.protocols._held_out import positions, without
from augrec.data.protocols.base import ROLE, TEST, VALID, Parts


def fold_in_parts(table: pl.DataFrame, held_out: pl.DataFrame, config: SplitConfig) -> Parts:
    """Train on those who are not held out; of those who are, the oldest `fold_in` of the items are
    the history.

    The history is rounded down, but holds at least one item, and leaves at least `min_targets`;
    users too short for both give no case, and are not trained on either.
    """
    cases = {}
    for role in (VALID, TEST):
        users = held_out.filter(pl.col(ROLE) == role)
        rows = table.join(users, on=C.USER, how="semi", maintain_order="left")
        place, length = positions(rows)
        most = length - config.min_targets
        kept = np.clip((config.fold_in * length).astype(np.int64), 1, np.maximum(most, 1))
        judged = most >= 1
        cases[role] = cases_of(
            rows,
            given=judged & (place < kept),
            wanted=judged & (place >= kept),
            min_targets=config.min_targets,
            max_history=config.max_history,
        )
    return Parts(without(table, held_out), cases[VALID], cases[TEST], held_out)
