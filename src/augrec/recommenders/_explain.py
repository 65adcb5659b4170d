"""Why an item was recommended: what items of the history, attributes and features of the user, and
popularity add to its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex

Background = dict[str, np.ndarray]
"""What else adds to the score of each target, float32 (n, m), by its name: see
`Recommender.background`."""

POPULAR: Final = ""
"""The name that popularity goes by among attributes and features, none of which has an empty
one."""
SCHEMA = {
    "row": pl.UInt32,
    C.ITEM: pl.String,
    "kind": pl.String,
    "because": pl.String,
    "contribution": pl.Float32,
}
_CELLS = 2**24


def explanations(
    shares: np.ndarray,
    background: Background,
    popularity: np.ndarray,
    index: ItemIndex,
    histories: Histories,
    targets: np.ndarray,
    top: int,
) -> pl.DataFrame:
    """The table that `Recommender.explain` gives.

    Args:
        shares: what each item of the n histories adds to the score of each target, float32 (nnz,
            m).
        background: what else does.
        popularity: float32 (n_items,).
        index: the catalogue.
        histories: of n users.
        targets: positions of the items to explain, int (n, m); -1 is an empty place.
        top: at most this number of reasons of a kind for each.
    """
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    entry, place = np.nonzero((shares > 0) & (targets[user] >= 0))
    met = index.decode(histories.items[entry])
    found = [
        _reasons(
            "item",
            user[entry],
            place,
            shares[entry, place],
            pl.Series(met.tolist(), dtype=pl.String),
        )
    ]
    for name, table in background.items():
        row, place = np.nonzero((table > 0) & (targets >= 0))
        why = "popularity" if name == POPULAR else "attribute"
        found.append(_reasons(why, row, place, table[row, place], pl.lit(name or None, pl.String)))
    reasons = pl.concat(found)
    alone = targets >= 0
    alone[reasons["row"].to_numpy(), reasons["place"].to_numpy()] = False
    alone &= popularity[targets] * len(index) >= 1
    row, place = np.nonzero(alone)
    reasons = pl.concat(
        [
            reasons,
            _reasons(
                "popularity", row, place, popularity[targets[row, place]], pl.lit(None, pl.String)
            ),
        ]
    )
    item = index.decode(targets[reasons["row"].to_numpy(), reasons["place"].to_numpy()])
    return (
        reasons.with_columns(pl.Series(C.ITEM, item.tolist(), dtype=pl.String))
        .sort(
            "row",
            "place",
            "contribution",
            "kind",
            "because",
            descending=[False, False, True, False, False],
        )
        .unique(
            ["row", "place", "kind", "because"], keep="first", maintain_order=True
        )  # an item met twice counts once
        .filter(pl.int_range(pl.len()).over("row", "place", "kind") < top)
        .select(*SCHEMA)
    )


def _reasons(
    kind: str,
    row: np.ndarray,
    place: np.ndarray,
    contribution: np.ndarray,
    because: pl.Series | pl.Expr,
) -> pl.DataFrame:
    """Reasons of one kind, one for each entry of row, place and contribution."""
    columns = {"row": row, "place": place, "contribution": contribution}
    schema = {"row": pl.UInt32, "place": pl.Int64, "contribution": pl.Float32}
    named = because.alias("because")
    return pl.DataFrame(columns, schema=schema).with_columns(named, kind=pl.lit(kind, pl.String))


def leave_one_out(
    score: Callable[[Histories], np.ndarray], histories: Histories, targets: np.ndarray
) -> np.ndarray:
    """What the score of each target loses without each item of the history, float32 (nnz, m).

    `score` gives (B, n_items) on one scale for all histories, the empty one included. As many
    histories are scored as there are items in all of them, a batch at a time (Zeiler & Fergus 2014,
    "occlusion", arXiv 1311.2901, on items in place of pixels).
    """
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    whole = score(histories)[np.arange(len(histories))[:, None], targets]  # (n, m)
    lost = np.empty((len(user), targets.shape[1]), np.float32)
    size = max(1, _CELLS // histories.n_items)
    for start in range(0, len(user), size):
        entry = np.arange(start, min(start + size, len(user)))
        without = score(_without(histories, user[entry], entry))
        lost[entry] = (
            whole[user[entry]] - without[np.arange(len(entry))[:, None], targets[user[entry]]]
        )
    return lost


def leave_columns_out(
    score: Callable[[Histories], np.ndarray],
    histories: Histories,
    targets: np.ndarray,
    names: Sequence[str],
) -> Background:
    """What the score of each target loses without each of these columns of the users' features.

    `score` as for `leave_one_out`; it must do without any column.
    """
    user_features = histories.user_features
    there = (
        [] if user_features is None else [name for name in names if name in user_features.columns]
    )
    if user_features is None or not there:
        return {}
    rows = np.arange(len(histories))[:, None]
    whole = score(histories)[rows, targets]
    return {
        name: whole
        - score(replace(histories, user_features=user_features.drop(name)))[rows, targets]
        for name in there
    }


def _without(histories: Histories, user: np.ndarray, entry: np.ndarray) -> Histories:
    """For each pair of a user and an entry of theirs, int (B,), the history without that entry's
    item."""
    taken = histories.take(user)
    row = np.repeat(np.arange(len(user)), taken.lengths)
    return taken.keep(taken.items != histories.items[entry][row])
