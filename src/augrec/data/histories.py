"""User histories in the compact form that models use: compressed rows of item positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.columns import without_nan


class ItemIndex:
    """Maps item ids to positions 0 … n-1, in sorted order of the ids.

    Args:
        ids: the item ids; sorted and de-duplicated here.
    """

    def __init__(self, ids: Sequence[str] | np.ndarray | pl.Series) -> None:
        # a Series may hold the rows of a large table: NumPy texts all take as much as the longest
        if isinstance(ids, pl.Series):
            ids = ids.drop_nulls().cast(pl.String).unique().to_list()
        self.ids: np.ndarray = np.unique(np.asarray(ids, dtype=str))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _lookup(self) -> pl.DataFrame:
        return pl.DataFrame(
            {C.ITEM: self.ids.tolist(), "position": np.arange(len(self), dtype=np.int32)},
            schema={C.ITEM: pl.String, "position": pl.Int32},
        )

    def encode(self, items: pl.Series) -> np.ndarray:
        """Positions, int32 (n,); -1 where an item is unknown."""
        found = (
            items.cast(pl.String)
            .alias(C.ITEM)
            .to_frame()
            .join(self._lookup, on=C.ITEM, how="left", maintain_order="left")
        )
        return found["position"].fill_null(-1).to_numpy()

    def decode(self, positions: np.ndarray) -> np.ndarray:
        """Item ids, same shape as `positions`."""
        return self.ids[positions]


@dataclass(frozen=True)
class Histories:
    """The histories of n users as compressed rows: user u has the entries indptr[u] … indptr[u+1],
    oldest first.

    Attributes:
        users: user ids, str (n,).
        indptr: int64 (n + 1,).
        items: positions in an `ItemIndex`, int32 (nnz,). Unknown items are left out.
        weights: float32 (nnz,).
        observed: bool (nnz,); False: the entry is only a target.
        n_items: size of the item index.
        user_features: attributes and features of the users, one row each in the order of `users`;
            None: there are none.
    """

    users: np.ndarray
    indptr: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    observed: np.ndarray
    n_items: int
    user_features: pl.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_interactions(cls, interactions: pl.DataFrame, items: ItemIndex) -> Histories:
        """Group interactions by user (users in sorted order). `weight` and `observed` default to 1
        and True.

        Args:
            interactions: at least user_id and item_id. A user's entries are sorted by `timestamp`
                if there is such a column.
            items: the item index.
        """
        users = interactions[C.USER].unique().sort()
        ranks = _positions(interactions[C.USER], users)
        order = _order(ranks, interactions)
        positions = items.encode(interactions[C.ITEM])[order]
        in_index = positions >= 0
        order = order[in_index]
        counts = (
            np.bincount(ranks[order], minlength=len(users)) if len(users) else np.zeros(0, np.int64)
        )
        return cls(
            users=users.to_numpy().astype(str),
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            items=positions[in_index].astype(np.int32),
            weights=_column(interactions, C.WEIGHT, 1.0, np.float32)[order],
            observed=_column(interactions, C.OBSERVED, True, np.bool_)[order],
            n_items=len(items),
        )

    @classmethod
    def from_lists(
        cls,
        lists: pl.Series,
        items: ItemIndex,
        users: Sequence[str] | np.ndarray | None = None,
        user_features: pl.DataFrame | None = None,
    ) -> Histories:
        """One history for each list of item ids, in the same order.

        Args:
            lists: List(String) (n,), oldest item first.
            items: the item index.
            users: ids for the rows; default: row numbers.
            user_features: attributes and features of the users, one row for each list.

        Raises:
            InputError: `user_features` has a different number of rows.
        """
        if user_features is not None and len(user_features) != len(lists):
            raise InputError(
                f"there are {len(lists)} histories, but attributes of {len(user_features)} users",
                where="histories",
                fix="give one row for each history, in the same order",
            )
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = (
            lists.explode(empty_as_null=False, keep_nulls=False)
            if len(lists)
            else pl.Series([], dtype=pl.String)
        )
        positions = items.encode(flat)
        found = positions >= 0
        rows = np.repeat(np.arange(len(lists)), lengths)
        counts = np.bincount(rows[found], minlength=len(lists))
        return cls(
            users=np.asarray(users if users is not None else np.arange(len(lists)), dtype=str),
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            items=positions[found].astype(np.int32),
            weights=np.ones(int(found.sum()), np.float32),
            observed=np.ones(int(found.sum()), np.bool_),
            n_items=len(items),
            user_features=None if user_features is None else without_nan(user_features),
        )

    @property
    def lengths(self) -> np.ndarray:
        """Number of entries of each user, int64 (n,)."""
        return np.diff(self.indptr)

    def matrix(self, *, observed_only: bool = False) -> sp.csr_matrix:
        """Weights as sparse float32 (n, n_items); a repeated item has its largest weight."""
        kept = self.keep(self.observed) if observed_only and not self.observed.all() else self
        shape = (len(self), self.n_items)
        table = sp.csr_matrix(
            (kept.weights, kept.items, kept.indptr), shape=shape, dtype=np.float32
        )
        table = table.tocsc().tocsr()  # sorts the items of each row, in linear time
        rows = np.repeat(np.arange(len(self)), kept.lengths)
        again = (rows[1:] == rows[:-1]) & (table.indices[1:] == table.indices[:-1])
        if again.any():
            order = np.lexsort((table.data, table.indices, rows))
            last = np.append(~again, True)
            entries = (table.data[order][last], (rows[last], table.indices[last]))
            table = sp.csr_matrix(entries, shape=shape, dtype=np.float32)
        table.has_canonical_format = True
        return table

    def with_user_features(self, users: pl.DataFrame | None) -> Histories:
        """The same histories with the features in a table with a column user_id and one row for
        each user; users that it lacks have nulls."""
        if users is None:
            return self
        ids = pl.DataFrame({C.USER: self.users.tolist()}, schema={C.USER: pl.String})
        table = ids.join(
            users.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left"
        )
        return replace(self, user_features=without_nan(table.drop(C.USER)))

    def take(self, users: np.ndarray) -> Histories:
        """The users at positions `users`, int (m,), in that order; they may repeat."""
        entries = self.entries(users)
        return Histories(
            self.users[users],
            np.concatenate([[0], np.cumsum(self.lengths[users])]).astype(np.int64),
            self.items[entries],
            self.weights[entries],
            self.observed[entries],
            self.n_items,
            None if self.user_features is None else self.user_features[users],
        )

    def entries(self, users: np.ndarray) -> np.ndarray:
        """The positions of the entries of users, int64 (nnz,), user after user."""
        lengths = self.lengths[users]
        starts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(self.indptr[users] - starts, lengths)

    def keep(self, entries: np.ndarray) -> Histories:
        """The same users with only the entries where `entries`, bool (nnz,), is True."""
        rows = np.repeat(np.arange(len(self)), self.lengths)[entries]
        counts = np.bincount(rows, minlength=len(self))
        return replace(
            self,
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            items=self.items[entries],
            weights=self.weights[entries],
            observed=self.observed[entries],
        )

    def slice(self, start: int, stop: int) -> Histories:
        """Users start … stop-1."""
        stop = min(stop, len(self))
        low, high = self.indptr[start], self.indptr[stop]
        return Histories(
            self.users[start:stop],
            self.indptr[start : stop + 1] - low,
            self.items[low:high],
            self.weights[low:high],
            self.observed[low:high],
            self.n_items,
            None if self.user_features is None else self.user_features[start:stop],
        )

    def batches(self, size: int) -> Iterator[Histories]:
        """Consecutive slices of at most `size` users."""
        for start in range(0, len(self), size):
            yield self.slice(start, start + size)


def _order(ranks: np.ndarray, interactions: pl.DataFrame) -> np.ndarray:
    """The order of the rows by user, then by time if there is one; much faster than a sort by
    ids."""
    if C.TIMESTAMP not in interactions.columns or interactions[C.TIMESTAMP].is_sorted():
        return _stable_argsort(ranks)
    times = interactions[C.TIMESTAMP].to_physical().fill_null(np.iinfo(np.int64).min).to_numpy()
    by_time = np.argsort(times, kind="stable")
    return by_time[_stable_argsort(ranks[by_time])]


def _stable_argsort(ranks: np.ndarray) -> np.ndarray:
    """np.argsort(ranks, kind="stable") of int32 (n,); faster, by sorting integers that combine rank
    and position."""
    return np.sort(ranks.astype(np.int64) << 32 | np.arange(len(ranks))) & 0xFFFFFFFF


def _positions(ids: pl.Series, known: pl.Series) -> np.ndarray:
    """The position of each id in `known`, int32 (n,), -1 for an unknown id."""
    lookup = pl.DataFrame({"id": known, "position": np.arange(len(known), dtype=np.int32)})
    found = ids.alias("id").to_frame().join(lookup, on="id", how="left", maintain_order="left")
    return found["position"].fill_null(-1).to_numpy()


def _column(table: pl.DataFrame, name: str, default: object, dtype: type) -> np.ndarray:
    if name in table.columns:
        return table[name].to_numpy().astype(dtype)
    return np.full(len(table), default, dtype)
