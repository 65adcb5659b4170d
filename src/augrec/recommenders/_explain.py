"""Why an item was recommended: the share of each item of the history in its score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex

Contributions = Callable[[Histories, np.ndarray], np.ndarray]
"""What each item of histories adds to the score of each target, see `Recommender.contributions`."""

_CELLS = 2**24
SCHEMA = {"row": pl.UInt32, C.ITEM: pl.String, "because": pl.String, "contribution": pl.Float32}


def explanations(
    contributions: Contributions, index: ItemIndex, histories: Histories, items: np.ndarray, top: int
) -> pl.DataFrame:
    """The table that `Recommender.explain` gives, for n histories and items str (n, m) of the catalogue `index`."""
    targets = index.encode(pl.Series(items.ravel().tolist(), dtype=pl.String)).reshape(items.shape)
    if not targets.size or not len(histories.items):
        return pl.DataFrame(schema=SCHEMA)
    shares = contributions(histories, targets)  # (nnz, m)
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    shares = np.where(targets[user] < 0, 0.0, shares)
    entry, place = np.nonzero(shares > 0)
    rows = user[entry]
    return (
        pl.DataFrame(
            {
                "row": rows,
                "place": place,
                C.ITEM: index.decode(targets[rows, place]).tolist(),
                "because": index.decode(histories.items[entry]).tolist(),
                "contribution": shares[entry, place],
            },
            schema={"place": pl.Int64, **SCHEMA},
        )
        .sort("row", "place", "contribution", "because", descending=[False, False, True, False])
        .unique(
            ["row", "place", "because"], keep="first", maintain_order=True
        )  # an item met twice counts once
        .group_by("row", "place", maintain_order=True)
        .head(top)
        .select(*SCHEMA)
    )


def leave_one_out(
    score: Callable[[Histories], np.ndarray], histories: Histories, targets: np.ndarray
) -> np.ndarray:
    """What the score of each target loses without each item of the history, float32 (nnz, m).

    `score` gives (B, n_items) on one scale for all histories, the empty one included. As many histories are scored as there
    are items in all of them, a batch at a time (Zeiler & Fergus 2014, "occlusion", arXiv 1311.2901, on items in place of
    pixels).
    """
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    whole = score(histories)[np.arange(len(histories))[:, None], targets]  # (n, m)
    lost = np.empty((len(user), targets.shape[1]), np.float32)
    size = max(1, _CELLS // histories.n_items)
    for start in range(0, len(user), size):
        entry = np.arange(start, min(start + size, len(user)))
        without = score(_without(histories, user[entry], entry))
        lost[entry] = whole[user[entry]] - without[np.arange(len(entry))[:, None], targets[user[entry]]]
    return lost


def _without(histories: Histories, user: np.ndarray, entry: np.ndarray) -> Histories:
    """For each pair of a user and an entry of theirs, int (B,), the history without that entry's item."""
    taken = histories.take(user)
    row = np.repeat(np.arange(len(user)), taken.lengths)
    return taken.keep(taken.items != histories.items[entry][row])
