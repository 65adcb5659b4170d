"""Are the rows that a generator adds to real histories like what users do before and after?

Only fidelity is measured: the rows carry the ids of real users and are never shared.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex
from augrec.data.item_pairs import correlation, standardised
from augrec.data.similarity import profiles
from augrec.generators.base import DIRECTION, PLACE, Direction


def extension_fidelity(
    extensions: pl.DataFrame, training: pl.DataFrame, top_items: int
) -> dict[str, float | None]:
    """Measures for each side, "left" (before) and "right" (after), on which histories were
    extended.

    …_popularity_correlation: Pearson, of the shares of users who have an item among the added rows,
    and among the rows at that end of real histories. …_pair_correlation: Pearson, between added and
    real ends, of the correlations "has item i in the history" × "has item j at its end", of all
    pairs of the most popular items; 0 where what is added does not depend on the history. The end
    of a real history is its half on that side, of at most as many rows as were added to any user;
    its history is the rest, no longer than the longest extended one. …_real: the same of one half
    of real users and the other, below 1 where users are few.

    Args:
        extensions: canonical rows of training users, direction and place.
        training: canonical interactions of the training users.
        top_items: the number of items that are compared in pairs.

    Returns:
        n_extended_users, and the measures as left_… and right_…; None where nothing varies.
    """
    items = ItemIndex(training[C.ITEM])
    counts = np.asarray(profiles(training, items).sum(axis=0)).ravel()
    top = np.argsort(-counts, kind="stable")[:top_items]
    extensions = extensions.join(training, on=C.USER, how="semi", maintain_order="left")
    measures: dict[str, float | None] = {"n_extended_users": extensions[C.USER].n_unique()}
    for side in get_args(Direction):
        added = extensions.filter(pl.col(DIRECTION) == side)
        if added.is_empty():
            continue
        history = training.join(added, on=C.USER, how="semi", maintain_order="left")
        longest = int(history.group_by(C.USER).len()["len"].max())  # type: ignore[arg-type]
        pairs = (history, added), _cut(training, side, int(added[PLACE].max()), longest)  # type: ignore[arg-type]
        made, real = ([profiles(table, items) for table in pair] for pair in pairs)
        halves = [[part[at::2] for part in real] for at in (0, 1)]
        for end, (one, other) in (("", (real, made)), ("_real", halves)):
            measures[f"{side}_popularity_correlation{end}"] = correlation(
                *(_shares(ends) for _, ends in (one, other))
            )
            measures[f"{side}_pair_correlation{end}"] = correlation(
                _crossed(one, top), _crossed(other, top)
            )
    return measures


def _shares(ends: sp.csr_matrix) -> np.ndarray:
    return np.asarray(ends.mean(axis=0)).ravel()


def _cut(training: pl.DataFrame, side: Direction, most: int, longest: int) -> list[pl.DataFrame]:
    """Histories of users with at least two rows, without one end, and these ends."""
    number, size = pl.int_range(pl.len()).over(C.USER), pl.len().over(C.USER)
    ordered = training.sort(C.USER, C.TIMESTAMP, maintain_order=True).with_columns(
        inwards=number if side == "left" else size - 1 - number,
        end=pl.min_horizontal(size // 2, most),
    )
    inwards, end = pl.col("inwards"), pl.col("end")
    return [
        ordered.filter(end > 0, inwards.is_between(end, end + longest, closed="left")),
        ordered.filter(inwards < end),
    ]


def _crossed(pair: list[sp.csr_matrix], top: np.ndarray) -> np.ndarray:
    """Correlations of each column of histories with each other column of their ends, float64 (k (k
    - 1),)."""
    histories, ends = (standardised(part[:, top]) for part in pair)
    table = histories.T @ ends
    return table[~np.eye(len(top), dtype=bool)]
