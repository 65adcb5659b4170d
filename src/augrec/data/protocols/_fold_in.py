"""Held-out users, evaluated on their later items given their earlier ones (fold-in)."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.data.cases import cases_of
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.instants import Instants
from augrec.data.protocols._held_out import positions, without
from augrec.data.protocols.base import ROLE, TEST, VALID, Parts


def fold_in_parts(table: pl.DataFrame, held_out: pl.DataFrame, config: SplitConfig) -> Parts:
    """Train on the users who are not held out; the oldest `fold_in` of a held-out user's items are
    the history.

    The size of the history is rounded down, also to the end of an instant, but it is at least one
    instant and leaves at least `min_targets`. Held-out users with too little for both have no case,
    and are not in the training rows either.
    """
    cases = {}
    for role in (VALID, TEST):
        users = held_out.filter(pl.col(ROLE) == role)
        rows = table.join(users, on=C.USER, how="semi", maintain_order="left")
        position, length = positions(rows)
        kept = _history_lengths(rows, config)
        judged = kept <= length - config.min_targets
        cases[role] = cases_of(
            rows,
            given=judged & (position < kept),
            wanted=judged & (position >= kept),
            min_targets=config.min_targets,
            max_history=config.max_history,
        )
    return Parts(without(table, held_out), cases[VALID], cases[TEST], held_out)


def _history_lengths(rows: pl.DataFrame, config: SplitConfig) -> np.ndarray:
    """The size of the history of each row's user, int64 (n,); no instant is cut."""
    position, length = positions(rows)
    most = np.maximum(length - config.min_targets, 1)
    wanted = np.clip((config.fold_in * length).astype(np.int64), 1, most)
    begin = np.arange(len(rows)) - position
    return Instants.of(rows).boundary(begin, np.zeros_like(begin), wanted)
