"""Differentially private counts of the training users.

Every user adds one row to each of five tables, and no row is longer than 1 (L2), so that one
Gaussian noise covers them all:

* items: the profile over the square root of its length, for popularity;
* users: one cell of profile length × declared attributes;
* rows: the shares of the user's rows among declared events and values;
* starts: one twentieth of the training time, in which the first row lies;
* gaps: the shares of the user's gaps among lengths of time between a second and ten years.

What is computed from the noisy sums costs nothing more. They hold less than exact counts: events,
values and times do not depend on the item, and only attributes whose values are declared are
conditioned on, since the values that occur are private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions
from augrec.generators._privacy.budget import PrivacyConfig
from augrec.generators._privacy.declared import declared_attributes, declared_cells, length_bands
from augrec.generators._profile.counts import Counts, profiles

PUBLIC = {
    "items": "the items table is the catalogue, whether any user met an item or not",
    "training set": "how it was cut out of all data: moments in time, items left out for too few "
    "users",
    "users": "how many training users there are",
    "time": "the first and the last day of the training time",
    "domains": "events, values and attributes as declared in params.yaml",
}
"""What the guarantee does not cover: taken as public."""

_WEIGHTS = {"items": 0.5, "users": 0.2, "rows": 0.1, "starts": 0.1, "gaps": 0.1}
_STARTS = 20
_SECOND, _DAY = 1_000_000, 86_400_000_000
_UNDER_A_DAY_S = (0, 1, 10, 60, 300, 900, 3600, 10_800, 43_200)
_GAPS = np.array(
    [*(_SECOND * s for s in _UNDER_A_DAY_S), *(_DAY * d for d in (1, 3, 7, 30, 90, 365, 3650))],
    np.int64,
)
"""Edges of the lengths of time, in microseconds."""
_GRID = np.linspace(0.0, 1.0, 101)
_FLOOR = 0.05


def private_counts(
    data: TrainingData, config: PrivacyConfig, noise: float, random: np.random.Generator
) -> Counts:
    """Count with noise.

    Args:
        data: what to count; rows with items that the items table lacks are left out.
        config: the declared domains.
        noise: standard deviation for rows of norm 1.
        random: where the noise, and what is drawn from the noisy counts, come from.

    Raises:
        InputError: there is no items table, or it holds none of the items.
        ConfigError: a declared attribute is unknown, or the declarations make too many cells.
    """
    users = Users.of(data, config)
    sums = noisy_sums(users.tables(), noise, random)
    n = len(users.lengths)
    totals = {name: norm_sub(sums[name], n) for name in ("users", "rows", "starts", "gaps")}
    conditions = users.draw_conditions(totals["users"], random)
    popularity = norm_sub(sums["items"], np.sqrt(conditions.lengths).sum())
    return Counts(
        items=users.items,
        shares=popularity + _FLOOR * popularity.mean(),
        conditions=conditions,
        details=_details(users.events, users.values, totals, users.times),
        matrix=users.matrix,
        vectors=conditions.encode(np.minimum(users.lengths, users.bands[1][-1]), users.codes),
    )


@dataclass(frozen=True)
class Users:
    """The n training users as they are, in declared domains; none of it may be stored.

    Attributes:
        items: the catalogue.
        matrix: 0/1 (n, n_items).
        lengths: int64 (n,), distinct items.
        bands: first and last profile length of each band.
        labels, codes: see `declared_attributes`.
        events, values, cells: see `declared_cells`.
        times: of their rows.
    """

    items: ItemIndex
    matrix: sp.csr_matrix
    lengths: np.ndarray
    bands: tuple[np.ndarray, np.ndarray]
    labels: dict[str, list[str]]
    codes: np.ndarray
    events: np.ndarray
    values: np.ndarray
    cells: np.ndarray
    times: Times

    @classmethod
    def of(cls, data: TrainingData, config: PrivacyConfig) -> Users:
        """Read the training data; see `private_counts`."""
        items, rows = _catalogued(data)
        histories = Histories.from_interactions(rows, items)
        matrix = profiles(histories)
        events, values, cells = declared_cells(rows, config.events)
        labels, codes = declared_attributes(histories.users, data.users, config.attributes)
        return cls(
            items=items,
            matrix=matrix,
            lengths=np.diff(matrix.indptr).astype(np.int64),
            bands=length_bands(min(config.max_length, len(items))),
            labels=labels,
            codes=codes,
            events=events,
            values=values,
            cells=cells,
            times=Times.of(rows, histories.users),
        )

    def tables(self) -> dict[str, sp.spmatrix]:
        """What is summed: float (n, columns) each, a row a user."""
        n, times, known = len(self.lengths), self.times, self.cells >= 0
        cells = np.ravel_multi_index((self._band(), *self.codes.T), self._shape)
        return {
            "items": sp.diags(1.0 / np.sqrt(self.lengths)) @ self.matrix,
            "users": _shares(np.arange(n), cells, n, int(np.prod(self._shape))),
            "rows": _shares(times.users[known], self.cells[known], n, len(self.events)),
            "starts": _shares(np.arange(n), times.start_bins, n, _STARTS),
            "gaps": _shares(times.gap_users, times.gap_bins, n, len(_GAPS) - 1),
        }

    def draw_conditions(self, counts: np.ndarray, random: np.random.Generator) -> Conditions:
        """Conditions of n synthetic users, as frequent as noisy counts of the cells of `users`
        say."""
        n, (low, high) = len(self.lengths), self.bands
        cells = random.choice(len(counts), n, p=counts / counts.sum())
        band, *codes = np.unravel_index(cells, self._shape)
        lengths = random.integers(low[band], high[band] + 1)
        table = np.stack(codes, axis=1) if codes else np.empty((n, 0))
        return Conditions(lengths.astype(np.int64), self.labels, table.astype(np.int64))

    @property
    def _shape(self) -> tuple[int, ...]:
        return (len(self.bands[0]), *map(len, self.labels.values()))

    def _band(self) -> np.ndarray:
        low, high = self.bands
        return np.searchsorted(low, np.minimum(self.lengths, high[-1]), side="right") - 1


def noisy_sums(
    tables: Mapping[str, sp.spmatrix], noise: float, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Column sums with Gaussian noise, all of which together one user moves by at most 1 before the
    noise.

    Args:
        tables: float (n, columns) each, a row a user; longer rows are shortened to norm 1.
        noise: standard deviation, in that unit.
        random: where the noise comes from.

    Returns:
        float64 (columns,) each; a table of weight w has noise of standard deviation noise /
        sqrt(w).
    """
    sums = {}
    for name, table in tables.items():
        norms = np.sqrt(np.asarray(table.multiply(table).sum(axis=1), np.float64).ravel())
        exact = (1.0 / np.maximum(norms, 1.0)) @ table
        # four draws for one, against attacks on the last bits, arXiv 2112.05307
        draws = random.normal(0.0, noise / np.sqrt(_WEIGHTS[name]), (4, table.shape[1]))
        sums[name] = exact + draws.sum(axis=0) / 2
    return sums


def norm_sub(sums: np.ndarray, most: float) -> np.ndarray:
    """The nearest non-negative counts: all are lowered by the same amount, at least to 0, until the
    total is right.

    Wang et al. 2020, arXiv 1905.08320; it removes most of what noise adds to empty cells. The
    total is that of the noisy sums, between 1 and `most`.
    """
    total = float(np.clip(sums.sum(), 1.0, most))
    falling = np.sort(sums)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(sums) + 1)
    kept = int(np.nonzero(falling > excess)[0].max(initial=0))
    return np.maximum(sums - excess[kept], 0.0)


@dataclass(frozen=True)
class Times:
    """When users start and how long they pause, in public bins.

    Attributes:
        users: int (rows,), the user of each row.
        window: int64 (2,), start of the first and of the last day, microseconds since 1970.
        start_bins: int64 (n,), the twentieth of the window that a user's first row lies in.
        gap_users, gap_bins: int (gaps,), the user and the length of each gap.
    """

    users: np.ndarray
    window: np.ndarray
    start_bins: np.ndarray
    gap_users: np.ndarray
    gap_bins: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame, ids: np.ndarray) -> Times:
        """Measure interactions of users `ids`, str (n,) sorted."""
        numbers = pl.DataFrame({C.USER: ids.tolist(), "user": np.arange(len(ids))})
        table = rows.select(C.USER, time=pl.col(C.TIMESTAMP).cast(TIME).to_physical())
        table = table.join(numbers, on=C.USER, how="left", maintain_order="left")
        rows_users, moments = table["user"].to_numpy(), table["time"].to_numpy()
        first, last = moments.min() // _DAY * _DAY, moments.max() // _DAY * _DAY
        window = np.array([first, max(last, first + _DAY)], np.int64)
        order = np.lexsort((moments, rows_users))
        users, moments = rows_users[order], moments[order]
        new = np.append(True, users[1:] != users[:-1])
        place = (moments[new] - first) / (window[1] - first) * _STARTS
        gaps = np.diff(moments)[~new[1:]]
        return cls(
            users=rows_users,
            window=window,
            start_bins=np.clip(place.astype(np.int64), 0, _STARTS - 1),
            gap_users=users[~new],
            gap_bins=np.clip(np.searchsorted(_GAPS, gaps, side="right") - 1, 0, len(_GAPS) - 2),
        )


def _catalogued(data: TrainingData) -> tuple[ItemIndex, pl.DataFrame]:
    """The catalogue, and the interactions with its items."""
    if data.items is None or data.items.is_empty():
        raise InputError(
            "a private generator needs the items table: which items occur is private",
            where="generators, privacy",
            fix="give it data/prepared/items.parquet",
        )
    items = ItemIndex(data.items[C.ITEM])
    rows = data.interactions.filter(pl.Series(items.encode(data.interactions[C.ITEM]) >= 0))
    if rows.is_empty():
        raise InputError(
            "the items table holds none of the items",
            where="generators, privacy",
            fix="give it the items table of these interactions",
        )
    return items, rows


def _shares(users: np.ndarray, cells: np.ndarray, n: int, size: int) -> sp.csr_matrix:
    """Float64 (n, size): how a user's entries are distributed over cells; rows sum to 1, or 0
    without entries."""
    table = sp.csr_matrix((np.ones(len(users)), (users, cells)), shape=(n, size))
    return sp.diags(1.0 / np.maximum(np.asarray(table.sum(axis=1)).ravel(), 1.0)) @ table


def _details(
    events: np.ndarray, values: np.ndarray, totals: dict[str, np.ndarray], times: Times
) -> RowDetails:
    """As for a catalogue of one item: see `RowDetails.draw` with positions that are all 0."""
    shares = totals["rows"] / totals["rows"].sum()
    ends = np.round(np.cumsum(shares) * 2**32).astype(np.int64)
    starts = np.linspace(times.window[0], times.window[1], _STARTS + 1)
    return RowDetails(
        pair_ends=ends,
        pair_events=events,
        pair_values=np.repeat(values[:, None].astype(np.float32), 5, axis=1),
        item_ends=ends[-1:],
        starts=_quantiles(totals["starts"], starts),
        gaps=_quantiles(totals["gaps"], _GAPS),
        last=times.window[1:],
    )


def _quantiles(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Int64 (101,) of counts between edges, uniform inside a bin."""
    reached = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    return np.interp(_GRID, reached, edges).astype(np.int64)
