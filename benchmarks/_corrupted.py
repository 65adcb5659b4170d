"""Training rows with label noise, and with fake users that push items."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C

FILLERS: Final = ("random", "average", "bandwagon")
"""What fake users hold besides the pushed items: items drawn evenly, by popularity, or among the
most popular ones."""


def noisy(train: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """`share` of the rows with an item drawn at random from the catalogue in place of their own."""
    draw = rng(seed, "noise")
    items = train[C.ITEM].unique().sort()
    wrong = items.gather(draw.integers(0, len(items), len(train)))
    hit = pl.Series(draw.random(len(train)) < share)
    return train.with_columns(pl.when(hit).then(wrong).otherwise(pl.col(C.ITEM)).alias(C.ITEM))


def pushed_items(train: pl.DataFrame, n: int, seed: int) -> pl.Series:
    """n items that are rarely recommended: drawn from the less popular half."""
    counts = train.group_by(C.ITEM).len().sort("len", C.ITEM)
    rare = counts[C.ITEM].head(len(counts) // 2)
    return rare.gather(rng(seed, "pushed").choice(len(rare), n, replace=False))


def attacked(
    train: pl.DataFrame, pushed: pl.Series, fillers: str, share: float, seed: int
) -> pl.DataFrame:
    """The rows and those of fake users, as many as `share` of the real ones, each as long as the
    median user: all pushed items and fillers.

    Args:
        train: user_id, item_id, timestamp.
        pushed: ids.
        fillers: one of `FILLERS`.
        share: fake users for each real one.
        seed: of what fake users hold.
    """
    draw = rng(seed, "attack", fillers)
    lengths = train.group_by(C.USER).len()["len"].to_numpy()
    n_fake = max(1, round(share * len(lengths)))
    n_fillers = max(1, int(np.median(lengths)) - len(pushed))
    counts = train.group_by(C.ITEM).len().sort(["len", C.ITEM], descending=[True, False])
    if fillers == "random":
        source = counts[C.ITEM]
    elif fillers == "average":
        source = train[C.ITEM]  # by popularity
    else:
        source = counts[C.ITEM].head(2 * n_fillers)
    held = source.gather(draw.integers(0, len(source), n_fake * n_fillers)).to_numpy()
    every = np.tile(pushed.to_numpy(), (n_fake, 1))
    items = np.concatenate([every, held.reshape(n_fake, n_fillers)], axis=1)
    users = np.repeat([f"fake{number:06}" for number in range(n_fake)], items.shape[1])
    moments = train[C.TIMESTAMP].gather(draw.integers(0, len(train), len(users)))
    fake = pl.DataFrame(
        {C.USER: users.tolist(), C.ITEM: items.ravel().tolist(), C.TIMESTAMP: moments}
    )
    return pl.concat([train, fake.unique([C.USER, C.ITEM], maintain_order=True)])
