"""Held-out choices of groups, and items that they did not choose."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C


class HeldOut(NamedTuple):
    """What groups chose, divided in two.

    Attributes:
        known: the rows of groups that a model may see: group_id, item_id, …
        choices: the held-out rows of groups.
        interactions: the members' rows without those that gave a held-out choice away.
    """

    known: pl.DataFrame
    choices: pl.DataFrame
    interactions: pl.DataFrame


def hold_out(
    rows: pl.DataFrame, members: pl.DataFrame, interactions: pl.DataFrame, n: int, seed: int
) -> HeldOut:
    """Hold out n rows of each group: the newest where the rows have times, else random ones. Groups
    keep at least one row.

    A row of a group is often the row of a member. One member's row of the same item goes with each
    held-out row, so that members' histories do not tell what their group chose.

    Args:
        rows: what groups took: group_id, item_id; optional timestamp.
        members: group_id, user_id.
        interactions: of users: user_id, item_id, ….
        n: at most this number for each group.
        seed: of the draws.
    """
    random = rng(seed, "held-out choices")
    table = rows.with_columns(_draw=pl.Series(random.random(len(rows)), dtype=pl.Float64))
    newest = [pl.col(C.TIMESTAMP)] if C.TIMESTAMP in rows.columns else []
    table = table.sort(C.GROUP, *newest, "_draw", C.ITEM)
    length, place = pl.len().over(C.GROUP), pl.int_range(pl.len()).over(C.GROUP)
    held = place >= pl.max_horizontal(length - n, pl.lit(1, pl.Int64))
    parted = table.with_columns(_held=held)
    choices = parted.filter("_held").select(rows.columns)
    known = parted.filter(~pl.col("_held")).select(rows.columns)
    return HeldOut(known, choices, without_choices(choices, members, interactions, seed))


def without_choices(
    choices: pl.DataFrame, members: pl.DataFrame, interactions: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """The members' interactions without one member's row for each choice of their group."""
    random = rng(seed, "members' rows of choices")
    had = (
        choices.select(C.GROUP, C.ITEM)
        .with_row_index("_choice")
        .join(members, on=C.GROUP)
        .join(interactions.select(C.USER, C.ITEM).unique(), on=[C.USER, C.ITEM])
        .sort("_choice", C.USER)
    )
    had = had.with_columns(_draw=pl.Series(random.random(len(had)), dtype=pl.Float64))
    gone = had.sort("_choice", "_draw").unique("_choice", keep="first").select(C.USER, C.ITEM)
    return interactions.join(gone, on=[C.USER, C.ITEM], how="anti", maintain_order="left")


def others(chosen: np.ndarray, n_items: int, n: int, seed: int) -> np.ndarray:
    """n items for each choice that are not the chosen one, drawn from the whole catalogue without
    repetition; int64 (c, n')."""
    random = rng(seed, "items beside choices")
    n = min(n, n_items - 1)
    drawn = np.stack([random.choice(n_items - 1, n, replace=False) for _ in chosen])
    found: np.ndarray = drawn + (drawn >= chosen[:, None])
    return found
