"""Adding users to a training set: how many, copies of which rows, under which ids."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
import polars as pl

from augrec.augmentation.base import PolicyInputs
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C

NUMBER = "number"
"""Column: the number of a synthetic user within one operation, 0 … n-1; `append_users` makes it an
id."""

MARKS: Final = {C.OBSERVED: True, C.NEGATIVE: False}
"""Columns that only training sets have, and what rows without them are."""

_logger = logging.getLogger(__name__)


def users_to_add(ratio: float, training: pl.DataFrame, inputs: PolicyInputs) -> int:
    """The number of users to add: `ratio` for each real one, at most what `max_ratio` allows; logs
    a warning where that is less."""
    n_real = inputs.real[C.USER].n_unique()
    wanted = round(ratio * n_real)
    added_before = training[C.USER].n_unique() - n_real
    room = max(0, int(inputs.max_ratio * n_real) - added_before)
    if wanted > room:
        _logger.warning(
            "augmentation.max_ratio allows %d users; the policy asks for %d", room, wanted
        )
    return min(wanted, room)


def each_in_turn(usable: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """n of `usable`, int (m,), in random order, none again before all were drawn; empty where
    `usable` is."""
    rounds = -(-n // len(usable)) if len(usable) else 0
    return np.concatenate([usable[:0], *(random.permutation(usable) for _ in range(rounds))])[:n]


def copy_users(real: pl.DataFrame, chosen: np.ndarray) -> pl.DataFrame:
    """The rows of real users, once for each time a user is chosen, in the order of choice and then
    of time.

    Args:
        real: canonical interactions.
        chosen: int (n,), positions among the users of `real` in sorted order.

    Returns:
        The rows with a column NUMBER, 0 … n-1.
    """
    users = real[C.USER].unique().sort()
    picks = pl.DataFrame({NUMBER: np.arange(len(chosen)), C.USER: users.gather(chosen)})
    return picks.join(real, on=C.USER, how="left", maintain_order="left_right").sort(
        NUMBER, C.TIMESTAMP, maintain_order=True
    )


def append_users(training: pl.DataFrame, made: pl.DataFrame, maker: str) -> pl.DataFrame:
    """`training` unchanged, then the synthetic users, with ids that do not occur in `training`.

    Args:
        training: canonical interactions, perhaps with `observed`.
        made: canonical rows with NUMBER in place of a user id, perhaps with `observed`, sorted by
            user and time.
        maker: name of the operation or generator; becomes the origin.
    """
    prefix = _free_prefix(maker, training[C.USER])
    named = made.with_columns(
        pl.lit(prefix).add(pl.col(NUMBER).cast(pl.String).str.zfill(8)).alias(C.USER),
        pl.lit(maker).alias(C.ORIGIN),
    )
    return append_rows(training, named)


def append_rows(training: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """`training` unchanged, then `more`: canonical rows, either perhaps with some of the columns of
    `MARKS`."""
    kinds = {name: kind for name, kind in INTERACTIONS.items() if name in more.columns}
    more = more.cast(kinds)  # type: ignore[arg-type]
    marks = [mark for mark in MARKS if mark in training.columns or mark in more.columns]
    tables = [
        table.with_columns(
            pl.lit(MARKS[mark]).alias(mark) for mark in marks if mark not in table.columns
        ).select(*INTERACTIONS, *marks)
        for table in (training, more)
    ]
    return pl.concat(tables)


def _free_prefix(maker: str, taken: pl.Series) -> str:
    """The plain prefix, unless ids that start so are there already (the same operation twice, or
    odd real ids)."""
    prefix, attempt = f"synthetic:{maker}:", 1
    while taken.str.starts_with(prefix).any():
        attempt += 1
        prefix = f"synthetic:{maker}#{attempt}:"
    return prefix
