"""Conditions of synthetic users: a profile length and attributes, as they occur together in
training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.attribute_labels import range_labels, to_labels
from augrec.data.columns import Columns as C

LENGTH = "length"
WHERE = "params.yaml, synthesis.condition; or sample(condition=...)"
"""Where conditions come from."""
_BINS = 4


@dataclass(frozen=True)
class Conditions:
    """Lengths and attributes of n training users; no ids.

    Attributes:
        lengths: int64 (n,), distinct items of each user.
        labels: for each attribute, the values it can take.
        codes: int64 (n, number of attributes), positions in `labels`.
    """

    lengths: np.ndarray
    labels: dict[str, list[str]]
    codes: np.ndarray

    @classmethod
    def of(
        cls, ids: np.ndarray, lengths: np.ndarray, users: pl.DataFrame | None, max_values: int
    ) -> Conditions:
        """Encode the attributes of users `ids` str (n,); columns with no or too many different
        values are left out.

        Numbers with more than `max_values` different values are cut at their quartiles.
        """
        order = pl.DataFrame({C.USER: ids.tolist()}, schema={C.USER: pl.String})
        if users is None:
            users = order
        joined = order.join(
            users.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left"
        )
        labels, codes = {}, []
        for column in joined.drop(C.USER).iter_columns():
            text = _as_labels(column, max_values)
            if text is None:
                continue
            values, positions = np.unique(text.to_numpy().astype(str), return_inverse=True)
            labels[column.name] = values.tolist()
            codes.append(positions)
        table = np.stack(codes, axis=1) if codes else np.empty((len(ids), 0))
        return cls(lengths.astype(np.int64), labels, table.astype(np.int64))

    @property
    def width(self) -> int:
        """Columns of `vectors`."""
        return 1 + sum(map(len, self.labels.values()))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Float32 (len(rows), width): standardised log length, then one-hot attributes."""
        return self.encode(self.lengths[rows], self.codes[rows])

    def encode(self, lengths: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """As `vectors`, for any lengths int (m,) and codes int (m, number of attributes); a code of
        -1 becomes all zeros."""
        logs = np.log1p(self.lengths)
        parts = [((np.log1p(lengths) - logs.mean()) / max(float(logs.std()), 1e-6))[:, None]]
        parts += [
            np.arange(len(values)) == codes[:, [at]]
            for at, values in enumerate(self.labels.values())
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def draw(
        self, n: int, condition: Mapping[str, object], random: np.random.Generator
    ) -> np.ndarray:
        """Rows int64 (n,) of training users that meet `condition`, each as likely as any other.

        Args:
            n: how many.
            condition: "length" as "6-20", "21+" or "7"; an attribute as one of its labels; what is
                absent is free.
            random: where the draw comes from.

        Raises:
            ConfigError: an unknown attribute or value, or no training user meets the condition.
        """
        fits = np.ones(len(self.lengths), np.bool_)
        for name, wanted in condition.items():
            if name == LENGTH:
                low, high = _parse_range(str(wanted))
                fits &= (self.lengths >= low) & (self.lengths <= high)
            else:
                text = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
                fits &= self.codes[:, self._attribute(name)] == self._value(name, text)
        rows = np.nonzero(fits)[0]
        if not len(rows):
            raise ConfigError(
                f"no training user meets the condition {dict(condition)}",
                where=WHERE,
                fix=f"training profiles have {self.lengths.min()} to {self.lengths.max()} items; "
                "ask for fewer things at once",
            )
        return random.choice(rows, n)

    def attributes(self, rows: np.ndarray) -> pl.DataFrame:
        """A column for each attribute, an Enum of its labels, of rows int64 (m,); no columns where
        there are none."""
        return pl.DataFrame(
            [
                pl.Series(name, values, dtype=pl.Enum(values)).gather(self.codes[rows, at])
                for at, (name, values) in enumerate(self.labels.items())
            ]
        )

    def state(self) -> dict[str, np.ndarray]:
        """Arrays to store."""
        return {
            "condition_lengths": self.lengths,
            "condition_codes": self.codes,
            "condition_names": np.repeat(
                list(self.labels), [len(v) for v in self.labels.values()]
            ).astype(str),
            "condition_values": np.array(
                [value for values in self.labels.values() for value in values], dtype=str
            ),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Conditions:
        """Read back what `state` gave."""
        labels: dict[str, list[str]] = {}
        for name, value in zip(
            state["condition_names"].tolist(), state["condition_values"].tolist(), strict=True
        ):
            labels.setdefault(name, []).append(value)
        return cls(state["condition_lengths"], labels, state["condition_codes"])

    def _attribute(self, name: str) -> int:
        if name not in self.labels:
            raise ConfigError(
                f"no training user has an attribute {name!r}",
                where=WHERE,
                fix=f"use one of: {', '.join([LENGTH, *self.labels])}",
            )
        return list(self.labels).index(name)

    def _value(self, name: str, value: str) -> int:
        if value not in self.labels[name]:
            raise ConfigError(
                f"no training user has {name} = {value!r}",
                where=WHERE,
                fix=f"use one of: {', '.join(self.labels[name])}",
            )
        return self.labels[name].index(value)


def _as_labels(column: pl.Series, max_values: int) -> pl.Series | None:
    """The attribute as text, or None where it cannot be one."""
    known = column.drop_nulls()
    if column.dtype.is_numeric() and known.n_unique() > max_values:
        edges = known.cast(pl.Float64).quantile(np.linspace(0, 1, _BINS + 1)[1:-1].tolist())
        return to_labels(column, range_labels(edges))
    simple = column.dtype.is_numeric() or column.dtype in (
        pl.String,
        pl.Boolean,
        pl.Categorical,
        pl.Enum,
    )
    if not simple or not 2 <= known.n_unique() <= max_values:
        return None
    return to_labels(column, [])


def _parse_range(text: str) -> tuple[int, float]:
    """The lowest and highest length that "6-20", "21+" or "7" name."""
    low, dash, high = text.removesuffix("+").partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        raise ConfigError(
            f"{text!r} is not a range of profile lengths",
            where=WHERE,
            fix='write "6-20", "21+" or "7"',
        )
    if text.endswith("+"):
        return int(low), np.inf
    return int(low), int(high or low)
