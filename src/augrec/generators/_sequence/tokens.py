"""The tokens of a history's rows: item, kind (event and value), time gap, era."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex

_VALUE_GRID = (0.1, 0.5, 0.9)
_ERAS = 24
_TICKS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000)


@dataclass(frozen=True)
class SequenceRows:
    """The rows of n sequences, end to end, each in the order it is read.

    Attributes:
        indptr: int64 (n + 1,); sequence u holds rows indptr[u] … indptr[u + 1].
        items, kinds: positions, int64 (N,).
        times: microseconds since 1970, int64 (N,); ascending within a sequence, or descending
            when it is read backwards.
    """

    indptr: np.ndarray
    items: np.ndarray
    kinds: np.ndarray
    times: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """SequenceRows of each sequence, int64 (n,)."""
        return np.diff(self.indptr)

    def backwards(self) -> SequenceRows:
        """Every sequence from its last row to its first, in the same order of sequences."""
        place = np.arange(len(self.items)) - np.repeat(self.indptr[:-1], self.lengths)
        order = np.repeat(self.indptr[1:], self.lengths) - 1 - place
        return SequenceRows(self.indptr, self.items[order], self.kinds[order], self.times[order])

    def followed_by(self, other: SequenceRows) -> SequenceRows:
        """These sequences, then the others."""
        both = (
            np.concatenate(pair)
            for pair in zip(vars(self).values(), vars(other).values(), strict=True)
        )
        _, items, kinds, times = both
        return SequenceRows(
            np.concatenate([self.indptr, other.indptr[1:] + self.indptr[-1]]), items, kinds, times
        )

    def take(self, sequences: np.ndarray, most: int) -> SequenceRows:
        """The last `most` rows of some sequences, int (m,)."""
        counts = np.minimum(self.lengths[sequences], most)
        ends = np.cumsum(counts)
        rows = np.arange(counts.sum()) + np.repeat(self.indptr[sequences + 1] - ends, counts)
        return SequenceRows(
            np.append(0, ends), self.items[rows], self.kinds[rows], self.times[rows]
        )


@dataclass(frozen=True)
class Tokenizer:
    """Turns rows into tokens and back. It keeps quantiles and what occurs with each item, never a
    user's own rows.

    Attributes:
        kind_events: str (K,), the event of each kind; kinds of one event follow each other.
        kind_lows: float32 (K,), from which value on a row is of this kind, ascending within an
            event; NaN: no value.
        pairs: int64 (P,), item × K + kind of all pairs that occur, ascending.
        pair_values: float32 (P, 3), quantiles of a pair's values; NaN: none.
        gap_edges: int64 (G + 1,), microseconds; gap g lies in [edge g, edge g + 1); the first gap
            starts at 0.
        era_edges: int64 (R + 1,), times that cut the training time into parts of about equally
            many rows.
        tick: int64 (1,), the resolution of the times in microseconds: all differ by multiples of
            it.
        n_items: int64 (1,).
    """

    kind_events: np.ndarray
    kind_lows: np.ndarray
    pairs: np.ndarray
    pair_values: np.ndarray
    gap_edges: np.ndarray
    era_edges: np.ndarray
    tick: np.ndarray
    n_items: np.ndarray

    @classmethod
    def of(
        cls, interactions: pl.DataFrame, items: ItemIndex, n_values: int, n_gaps: int
    ) -> tuple[Tokenizer, SequenceRows, np.ndarray]:
        """Measure canonical interactions, all of whose items are in the index.

        Args:
            interactions: canonical; of rows with the same user and item the last one counts.
            items: the item index.
            n_values: an event with more different values has them cut at their quantiles.
            n_gaps: parts that time gaps are cut into, at their quantiles.

        Returns:
            The tokenizer, the rows, and the users they belong to, str (n,), sorted.
        """
        table = _ordered(interactions)
        events, lows = _kinds(table, n_values)
        kinds = _to_kinds(table, events, lows)
        times = table[C.TIMESTAMP].to_physical().to_numpy()
        positions = items.encode(table[C.ITEM]).astype(np.int64)
        pairs = (
            pl.DataFrame({"pair": positions * len(events) + kinds, C.VALUE: table[C.VALUE]})
            .group_by("pair")
            .agg(pl.col(C.VALUE).quantile(q, "nearest").alias(str(q)) for q in _VALUE_GRID)
            .sort("pair")
        )
        users, indptr = _users(table)
        tick = next((t for t in _TICKS if not (np.diff(times) % t).any()), 1)
        found = cls(
            kind_events=events,
            kind_lows=lows,
            pairs=pairs["pair"].to_numpy(),
            pair_values=pairs.select(map(str, _VALUE_GRID))
            .cast(pl.Float32)
            .fill_null(np.nan)
            .to_numpy(),
            gap_edges=_gap_edges(
                np.diff(times)[np.diff(np.repeat(np.arange(len(users)), np.diff(indptr))) == 0],
                n_gaps,
                tick,
            ),
            era_edges=_edges(times, _ERAS, tick),
            tick=np.array([tick], np.int64),
            n_items=np.array([len(items)], np.int64),
        )
        return found, SequenceRows(indptr, positions, kinds, times), users

    @property
    def n_gaps(self) -> int:
        """G; a first row has gap G."""
        return len(self.gap_edges) - 1

    @property
    def n_eras(self) -> int:
        """R."""
        return len(self.era_edges) - 1

    @cached_property
    def allowed(self) -> np.ndarray:
        """Which kinds each item occurs in, bool (n_items, K)."""
        table = np.zeros(int(self.n_items[0]) * len(self.kind_events), np.bool_)
        table[self.pairs] = True
        return table.reshape(int(self.n_items[0]), -1)

    def encode(
        self, interactions: pl.DataFrame, items: ItemIndex
    ) -> tuple[SequenceRows, np.ndarray]:
        """Rows and users as `of` gives them, of any canonical interactions; unknown items are left
        out."""
        table = _ordered(interactions)
        positions = items.encode(table[C.ITEM]).astype(np.int64)
        table, positions = table.filter(pl.Series(positions >= 0)), positions[positions >= 0]
        users, indptr = _users(table)
        kinds = _to_kinds(table, self.kind_events, self.kind_lows)
        return SequenceRows(
            indptr, positions, kinds, table[C.TIMESTAMP].to_physical().to_numpy()
        ), users

    def gaps(self, rows: SequenceRows) -> np.ndarray:
        """The gap before each row, int64 (N,)."""
        passed = np.abs(np.diff(rows.times, prepend=rows.times[:1]))
        gaps = np.clip(
            np.searchsorted(self.gap_edges, passed, side="right") - 1, 0, self.n_gaps - 1
        )
        gaps[rows.indptr[:-1][rows.lengths > 0]] = self.n_gaps
        return gaps

    def eras(self, times: np.ndarray) -> np.ndarray:
        """The era of each time, int64, of the same shape."""
        return np.clip(np.searchsorted(self.era_edges, times, side="right") - 1, 0, self.n_eras - 1)

    def events_and_values(
        self, items: np.ndarray, kinds: np.ndarray, random: np.random.Generator
    ) -> pl.DataFrame:
        """Event and value of rows, int64 (N,) both; a value is one that the item had."""
        pair = np.searchsorted(self.pairs, items * len(self.kind_events) + kinds)
        values = self.pair_values[pair, random.integers(0, len(_VALUE_GRID), len(items))]
        return pl.DataFrame(
            {
                C.EVENT: pl.Series(self.kind_events[kinds].tolist(), dtype=pl.String),
                C.VALUE: pl.Series(values, dtype=pl.Float32).fill_nan(None),
            }
        )

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        return {f"token_{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Tokenizer:
        """Read back what `state` gave."""
        return cls(**{name: state[f"token_{name}"] for name in cls.__dataclass_fields__})


def _ordered(interactions: pl.DataFrame) -> pl.DataFrame:
    """By user and time, each item of a user once."""
    return (
        interactions.select(
            C.USER, C.ITEM, pl.col(C.EVENT).fill_null(""), C.VALUE, pl.col(C.TIMESTAMP).cast(TIME)
        )
        .sort(C.USER, C.TIMESTAMP, maintain_order=True)
        .unique([C.USER, C.ITEM], keep="last", maintain_order=True)
    )


def _users(table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    runs = table[C.USER].rle().struct.unnest()
    indptr = np.concatenate([[0], np.cumsum(runs["len"].to_numpy())]).astype(np.int64)
    return runs["value"].to_numpy().astype(str), indptr


def _kinds(table: pl.DataFrame, n_values: int) -> tuple[np.ndarray, np.ndarray]:
    """Events and the lowest values of all kinds."""
    events: list[str] = []
    lows: list[float] = []
    for event in table[C.EVENT].unique().sort():
        values = table.filter(pl.col(C.EVENT) == event)[C.VALUE]
        known = np.unique(values.drop_nulls().to_numpy())
        if len(known) > n_values:
            known = np.unique(
                np.quantile(
                    values.drop_nulls().to_numpy(), np.arange(n_values) / n_values, method="lower"
                )
            )
        own = [*known.tolist(), *([np.nan] if values.null_count() else [])]
        lows += own
        events += [event] * len(own)
    return np.array(events, dtype=str), np.array(lows, np.float32)


def _to_kinds(table: pl.DataFrame, events: np.ndarray, lows: np.ndarray) -> np.ndarray:
    """The kind of each row, int64 (N,): the nearest one; of an unknown event the first one."""
    kinds = np.zeros(len(table), np.int64)
    event, value = table[C.EVENT].to_numpy(), table[C.VALUE].to_numpy()
    for name in np.unique(events):
        mine, own = np.flatnonzero(event == name), np.flatnonzero(events == name)
        known = own[~np.isnan(lows[own])]
        place = np.searchsorted(lows[known], value[mine], side="right") - 1
        kinds[mine] = known[np.maximum(place, 0)] if len(known) else own[0]
        if len(known) < len(own):
            kinds[mine[np.isnan(value[mine])]] = own[-1]
    return kinds


def _gap_edges(gaps: np.ndarray, n: int, tick: int) -> np.ndarray:
    positive = gaps[gaps > 0]
    if not len(positive):
        return np.array([0, tick], np.int64)
    return np.concatenate([[0], _edges(positive, max(1, n - 1), tick)])


def _edges(values: np.ndarray, n: int, tick: int) -> np.ndarray:
    """Cuts at values that occur, about equally many in each part; the last one lies beyond the
    largest."""
    cuts = np.quantile(values, np.arange(n) / n, method="lower").astype(np.int64)
    return np.append(np.unique(cuts), values.max() + tick).astype(np.int64)
