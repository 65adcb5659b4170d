"""Columns of any kind as numbers for a network: features and attributes, with what is missing kept
apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.columns import without_nan
from augrec.data.histories import Histories

USER_PREFIX, ITEM_PREFIX = "user__", "item__"
"""Prefixes of the columns of features in training interactions."""
_LARGEST = 5.0
"""Standardised values are cut to this range: a value far outside of training must not carry
everything."""


@dataclass(frozen=True)
class Encoded:
    """n rows.

    Attributes:
        numbers: standardised, 0 where missing, float32 (n, F).
        missing: whether a column of numbers has nothing there, bool (n, m); a list's elements share
            one.
        codes: of text columns, int64 (n, c); 0 where the text is missing or was too rare in
            training.
    """

    numbers: np.ndarray
    missing: np.ndarray
    codes: np.ndarray

    def filled(self, other: Encoded, rows: np.ndarray) -> Encoded:
        """The same, empty rows taken from the rows `rows` of another, int (n,); -1: there is
        none."""
        here = np.flatnonzero(self.empty & (rows >= 0))
        whole = Encoded(self.numbers.copy(), self.missing.copy(), self.codes.copy())
        for name in self.__dataclass_fields__:
            getattr(whole, name)[here] = getattr(other, name)[rows[here]]
        return whole

    @property
    def empty(self) -> np.ndarray:
        """Rows in which everything is missing, bool (n,)."""
        return self.missing.all(1) & (self.codes == 0).all(1)


@dataclass(frozen=True)
class Encoder:
    """Encodes numbers, booleans, lists of numbers and text; columns of other types are left out.

    A number x is squashed to sign(x) ln(1 + |x|), then standardised by mean and deviation of the
    training rows. Null, NaN and infinite values are missing. A list is cut or filled with missing
    values to its longest length in training.

    Attributes:
        numbers: names of the number columns, str (m,), and `widths`, the numbers each stands for,
            int64 (m,).
        means, deviations: float32 (F,), F the sum of the widths.
        texts: names of the text columns, str (c,).
        values: their known values, str (v,), and `owners`, the text column of each, int64 (v,);
            sorted by column, value.
    """

    numbers: np.ndarray
    widths: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    texts: np.ndarray
    values: np.ndarray
    owners: np.ndarray

    @classmethod
    def fit(
        cls,
        table: pl.DataFrame,
        *,
        max_values: int,
        min_rows: int,
        texts: pl.DataFrame | None = None,
    ) -> Encoder:
        """Learn from training rows; columns without any value are left out.

        Args:
            table: the columns to encode.
            max_values: the number of values of a text column that are distinguished, the most
                frequent ones …
            min_rows: … among those in at least this number of rows …
            texts: … of this table, where it is given: one that has a row for each user, not for
                each interaction, so that no single user's value is memorised.
        """
        widths = {name: _width(table[name]) for name in table.columns}
        names = [name for name in table.columns if widths[name]]
        raw = _raw(table, names, [widths[name] for name in names])
        kept = ~np.isnan(raw).all(0)
        owner = np.repeat(np.arange(len(names)), [widths[name] for name in names])
        alive = np.unique(owner[kept])
        names = [names[place] for place in alive]
        raw = raw[:, np.isin(owner, alive)]
        names_of_texts, values, owners = _vocabulary(
            table if texts is None else texts, max_values, min_rows
        )
        some = np.maximum((~np.isnan(raw)).sum(0), 1)
        means = np.nansum(raw, axis=0) / some
        deviations = np.sqrt(np.nansum((raw - means) ** 2, axis=0) / some)
        return cls(
            np.array(names, dtype=str),
            np.array([widths[name] for name in names], np.int64),
            means.astype(np.float32),
            np.where(deviations > 1e-6, deviations, 1).astype(np.float32),
            np.array(names_of_texts, dtype=str),
            np.array(values, dtype=str),
            np.array(owners, np.int64),
        )

    @property
    def sizes(self) -> list[int]:
        """How many codes each text column has, the one for "unknown" included."""
        return (np.bincount(self.owners, minlength=len(self.texts)) + 1).tolist()

    def encode(self, table: pl.DataFrame | None, n: int) -> Encoded:
        """Encode n rows; columns that the table lacks are missing in all of them, and so is
        everything without a table."""
        table = pl.DataFrame() if table is None else table
        raw = np.full((n, int(self.widths.sum())), np.nan)
        missing, codes = (
            np.ones((n, len(self.numbers)), np.bool_),
            np.zeros((n, len(self.texts)), np.int64),
        )
        stops = np.cumsum(self.widths)
        for place, (name, width, stop) in enumerate(
            zip(self.numbers, self.widths, stops, strict=True)
        ):
            if name in table.columns:
                part = _raw(table, [str(name)], [int(width)])
                raw[:, stop - width : stop] = part
                missing[:, place] = np.isnan(part).all(1)
        for place, name in enumerate(self.texts):
            if name in table.columns:
                codes[:, place] = self._codes(table[str(name)], place)
        standard = np.clip((raw - self.means) / self.deviations, -_LARGEST, _LARGEST)
        return Encoded(np.nan_to_num(standard, nan=0.0).astype(np.float32), missing, codes)

    def _codes(self, column: pl.Series, place: int) -> np.ndarray:
        known = pl.Series(self.values[self.owners == place].tolist(), dtype=pl.String)
        lookup = pl.DataFrame(
            {"value": known, "code": np.arange(1, len(known) + 1, dtype=np.int64)}
        )
        texts = pl.DataFrame({"value": column.cast(pl.String, strict=False)})
        return (
            texts.join(lookup, on="value", how="left", maintain_order="left")["code"]
            .fill_null(0)
            .to_numpy()
        )

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays to store, their names beginning with `prefix`."""
        return {f"{prefix}{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray], prefix: str) -> Encoder:
        """Take back, out of `state`, what `state` gave."""
        return cls(**{name: state.pop(f"{prefix}{name}") for name in cls.__dataclass_fields__})


def known_rows(interactions: pl.DataFrame, histories: Histories) -> pl.DataFrame:
    """The user's features (columns user__…) and attributes at each interaction, the latter from
    `histories.user_features`.

    Args:
        interactions: row by row the entries of `histories`.
    """
    features = interactions.select(pl.selectors.starts_with(USER_PREFIX))
    if histories.user_features is None:
        return features
    attributes = histories.user_features.drop(features.columns, strict=False)
    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    return pl.concat([features, attributes[rows]], how="horizontal")


def known_items(interactions: pl.DataFrame, ids: np.ndarray) -> pl.DataFrame:
    """The latest features, columns item__…, of each of the items; null where there are none."""
    by = [name for name in (C.TIMESTAMP, C.USER) if name in interactions.columns]
    latest = (
        without_nan(interactions.select(C.ITEM, *by, pl.selectors.starts_with(ITEM_PREFIX)))
        .sort(by)
        .group_by(C.ITEM)
        .agg(pl.selectors.starts_with(ITEM_PREFIX).drop_nulls().last())
    )
    items = pl.DataFrame({C.ITEM: ids.tolist()}, schema={C.ITEM: pl.String})
    return items.join(latest, on=C.ITEM, how="left", maintain_order="left").drop(C.ITEM)


def _width(column: pl.Series) -> int:
    """How many numbers a column stands for; 0: it does not hold numbers."""
    kind = column.dtype
    if isinstance(kind, pl.List) and kind.inner.is_numeric():
        return int(column.list.len().max() or 0)  # type: ignore[arg-type]
    if isinstance(kind, pl.Array) and kind.inner.is_numeric():
        return kind.size
    return int(kind.is_numeric() or kind == pl.Boolean)


def _raw(table: pl.DataFrame, names: list[str], widths: list[int]) -> np.ndarray:
    """The squashed numbers, float64 (n, sum of widths); NaN where missing."""
    columns = []
    for name, width in zip(names, widths, strict=True):
        column = table[name]
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        if isinstance(column.dtype, pl.List):
            columns += [
                _numbers(column.list.get(place, null_on_oob=True)) for place in range(width)
            ]
        else:
            columns += [_numbers(column)] + [np.full(len(table), np.nan)] * (width - 1)
    values = np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))
    values[~np.isfinite(values)] = np.nan
    return np.sign(values) * np.log1p(np.abs(values))


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)


def _vocabulary(
    table: pl.DataFrame, max_values: int, min_rows: int
) -> tuple[list[str], list[str], list[int]]:
    """Text columns with a value frequent enough, their values, and the column of each value."""
    texts: list[str] = []
    values: list[str] = []
    owners: list[int] = []
    for name in table.columns:
        if table.schema[name] not in (pl.String, pl.Categorical, pl.Enum):
            continue
        counts = (
            table.select(value=pl.col(name).cast(pl.String)).drop_nulls().group_by("value").len()
        )
        frequent = (
            counts.filter(pl.col("len") >= min_rows)
            .sort(["len", "value"], descending=[True, False])
            .head(max_values)
        )
        if len(frequent):
            values += frequent["value"].sort().to_list()
            owners += [len(texts)] * len(frequent)
            texts.append(name)
    return texts, values, owners
