"""Events, values and times for the rows of synthetic users, distributed as in the training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex

_GRID = np.linspace(0.0, 1.0, 101)
_VALUE_GRID = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class RowDetails:
    """Distributions to draw from. Times are microseconds since 1970; quantiles are kept, never a
    user's own times.

    Attributes:
        pair_ends: int64 (p,), running count of interactions over (item, event) pairs, items in
            index order.
        pair_events: str (p,), the event of each pair.
        pair_values: float32 (p, 5), quantiles of the pair's values; NaN where it has none.
        item_ends: int64 (n_items,), running count of interactions over items.
        starts: int64 (101,), quantiles of users' first times.
        gaps: int64 (101,), quantiles of the time between a user's consecutive interactions.
        last: int64 (1,), the end of training time.
    """

    pair_ends: np.ndarray
    pair_events: np.ndarray
    pair_values: np.ndarray
    item_ends: np.ndarray
    starts: np.ndarray
    gaps: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, interactions: pl.DataFrame, items: ItemIndex) -> RowDetails:
        """Measure canonical interactions, all of whose items are in the index."""
        table = interactions.select(
            pl.Series("position", items.encode(interactions[C.ITEM])),
            pl.col(C.USER),
            pl.col(C.EVENT).fill_null(""),
            pl.col(C.VALUE),
            pl.col(C.TIMESTAMP).cast(TIME).to_physical().alias("time"),
        )
        quantiles = [pl.col(C.VALUE).quantile(q, "nearest").alias(str(q)) for q in _VALUE_GRID]
        pairs = (
            table.group_by("position", C.EVENT)
            .agg(pl.len().alias("n"), *quantiles)
            .sort("position", C.EVENT)
        )
        times = table.sort(C.USER, "time").select(
            first=pl.col("time").is_first_distinct().over(C.USER),
            gap=pl.col("time").diff().over(C.USER),
            time=pl.col("time"),
            number=pl.int_range(pl.len()).over(C.USER),
        )
        gaps = times.filter(pl.col("number") > 0)["gap"].to_numpy()
        return cls(
            pair_ends=np.cumsum(pairs["n"].to_numpy()).astype(np.int64),
            pair_events=pairs[C.EVENT].to_numpy().astype(str),
            pair_values=pairs.select(map(str, _VALUE_GRID))
            .cast(pl.Float32)
            .fill_null(np.nan)
            .to_numpy(),
            item_ends=np.cumsum(
                np.bincount(table["position"].to_numpy(), minlength=len(items))
            ).astype(np.int64),
            starts=_quantiles(times.filter(pl.col("number") == 0)["time"].to_numpy()),
            gaps=_quantiles(gaps if len(gaps) else np.zeros(1)),
            last=np.array([table["time"].max()], np.int64),
        )

    def draw(
        self, positions: np.ndarray, lengths: np.ndarray, random: np.random.Generator
    ) -> pl.DataFrame:
        """Event, value and timestamp for each row.

        Args:
            positions: item positions int64 (nnz,), user after user, in the order of their rows.
            lengths: int64 (n,), rows of each user; none is zero.
            random: where the draw comes from.
        """
        begins = np.concatenate([[0], self.item_ends[:-1]])[positions]
        places = begins + (
            random.random(len(positions)) * (self.item_ends[positions] - begins)
        ).astype(np.int64)
        pairs = np.searchsorted(self.pair_ends, places, side="right")
        values = self.pair_values[pairs, random.integers(0, len(_VALUE_GRID), len(positions))]
        return pl.DataFrame(
            {
                C.EVENT: pl.Series(self.pair_events[pairs].tolist(), dtype=pl.String),
                C.VALUE: pl.Series(values, dtype=pl.Float32).fill_nan(None),
                C.TIMESTAMP: pl.Series(self._times(lengths, random)).cast(TIME),
            }
        )

    def _times(self, lengths: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Int64 (nnz,), ascending within a user, inside the training time: a late user starts a
        little earlier."""
        total = int(lengths.sum())
        firsts = np.cumsum(lengths) - lengths
        gaps = np.interp(random.random(total), _GRID, self.gaps)
        gaps[firsts] = 0.0
        passed = np.cumsum(gaps)
        passed -= np.repeat(passed[firsts], lengths)
        spans = passed[firsts + lengths - 1]
        room = float(self.last[0] - self.starts[0])
        passed *= np.repeat(np.minimum(1.0, room / np.maximum(spans, 1.0)), lengths)
        starts = np.interp(random.random(len(lengths)), _GRID, self.starts - self.starts[0])
        starts = np.minimum(starts, room - np.minimum(spans, room))
        return self.starts[0] + (np.repeat(starts, lengths) + passed).astype(np.int64)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        return {f"detail_{name}": array for name, array in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> RowDetails:
        """Read back what `state` gave."""
        return cls(**{name: state[f"detail_{name}"] for name in cls.__dataclass_fields__})


def synthetic_user_ids(origin: str, numbers: np.ndarray) -> pl.Series:
    """Ids "synthetic:<origin>:<number>" of synthetic users, numbers int64 (m,)."""
    return (f"synthetic:{origin}:" + pl.Series(numbers).cast(pl.String).str.zfill(8)).alias(C.USER)


def build_interactions(
    origin: str,
    lengths: np.ndarray,
    item_ids: np.ndarray,
    details: pl.DataFrame,
    *,
    weight: float = 1.0,
) -> pl.DataFrame:
    """Canonical interactions of synthetic users "synthetic:<origin>:<number>", sorted by user and
    time.

    Args:
        origin: name of the generator or operation they come from.
        lengths: int64 (n,), rows of each user.
        item_ids: str (nnz,), user after user.
        details: event, value and timestamp of each row, ascending in time within a user.
        weight: of every row.
    """
    table = details.with_columns(
        synthetic_user_ids(origin, np.repeat(np.arange(len(lengths)), lengths)),
        pl.Series(C.ITEM, item_ids.tolist(), dtype=pl.String),
        pl.lit(origin).alias(C.ORIGIN),
        pl.lit(weight, dtype=pl.Float32).alias(C.WEIGHT),
    )
    return table.select(INTERACTIONS.keys()).cast(dict(INTERACTIONS))  # type: ignore[arg-type]


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, _GRID).astype(np.int64)
