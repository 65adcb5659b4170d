"""Columns of a source's table by the mapping of `data.import`, and events of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data import convert
from augrec.data.columns import Columns as C
from augrec.data.config import EventColumns
from augrec.data.convert_numbers import numbers
from augrec.data.convert_times import times
from augrec.data.importing.place import Place
from augrec.data.importing.source import SourceTable

log = logging.getLogger(__name__)


class Mapped:
    """A table of a source, of which columns are taken one by one; remembers which."""

    def __init__(self, source: SourceTable, nulls: Sequence[str]) -> None:
        self._table, self._nulls = source.table, nulls
        self.untyped, self.place = source.untyped, source.place
        self._taken: set[str] = set()

    def require(self, mapped: dict[str, str | None], extra: Sequence[str] = ()) -> None:
        """Check that the columns exist, once each.

        Args:
            mapped: {key of params.yaml: the name of its column; None: there is none}.
            extra: further names.

        Raises:
            InputError: columns are missing or repeated; the message names the keys to change.
        """
        wanted = [(key, name) for key, name in mapped.items() if name is not None]
        wanted += [("extra", name) for name in extra]
        missing = [(key, name) for key, name in wanted if name not in self._table.columns]
        section = self.place.section
        if missing:
            keys = ", ".join(f"{section}.{key}" for key, _ in missing)
            raise InputError(
                f"missing columns: {', '.join(name for _, name in missing)}; found: "
                f"{', '.join(self._table.columns)}",
                where=self.place.where,
                fix=f"set {keys} in params.yaml to the columns you have (null where optional)",
            )
        repeated = [name for _, name in wanted if f"{name} (2)" in self._table.columns]
        if repeated:
            raise InputError(
                f"there are several columns called {', '.join(dict.fromkeys(repeated))}",
                where=self.place.where,
                fix="rename all but one of them, or leave them out of the export",
            )

    def take(self, name: str) -> pl.Series:
        """A column, without texts that mean null."""
        self._taken.add(name)
        return convert.without_nulls(self._table[name], self._nulls)

    def ids(self, name: str, canonical: str) -> pl.Series:
        """A column of ids."""
        found = convert.ids(self.take(name), self.place, text_numbers=self.untyped)
        return found.alias(canonical)

    def extra(self, names: Sequence[str], taken: Sequence[str]) -> list[pl.Series]:
        """Further columns under their own names.

        Raises:
            ConfigError: a mapped column has that name.
        """
        clashes = [name for name in names if name in taken]
        if clashes:
            raise ConfigError(
                f"{', '.join(clashes)} cannot be an extra column: a mapped column has that name",
                where=f"params.yaml, {self.place.section}.extra",
                fix="remove it from extra",
            )
        return [
            convert.attribute(self.take(name), self.place, text_numbers=self.untyped)
            for name in names
        ]

    def left_out(self) -> list[str]:
        """The columns that were not taken."""
        return [name for name in self._table.columns if name not in self._taken]


def convert_events(names: EventColumns, own: Mapped, key: str, who: str) -> pl.DataFrame:
    """A table of events of users or of groups, `key`, whose column is called `who`; events by the
    names of the source.

    Raises:
        InputError: a column is missing, or could be read in two ways.
    """
    mapped = {
        key: who,
        "item_id": names.item_id,
        "timestamp": names.timestamp,
        "event": names.event,
        "value": names.value,
    }
    own.require(mapped)
    columns = [
        own.ids(who, key),
        own.ids(names.item_id, C.ITEM),
        times(
            own.take(names.timestamp),
            own.place,
            unit=names.timestamp_unit,
            format=names.timestamp_format,
        ).alias(C.TIMESTAMP),
    ]
    if names.value is not None:
        value = numbers(own.take(names.value), pl.Float32, own.place, names.decimal)
        columns.append(value.alias(C.VALUE))
    if names.event is None:
        return pl.DataFrame(columns).with_columns(pl.lit(names.default_event).alias(C.EVENT))
    columns.append(convert.texts(own.take(names.event)).alias(C.EVENT))
    return pl.DataFrame(columns)


def warn_of_unused(
    events: Mapping[str, str | None], known: Collection[str | None], place: Place
) -> None:
    """Warn of names of events that are mapped and in no row; `known` are those in the rows."""
    if unused := [name for name in events if name not in known]:
        log.warning(
            "%s: no row has the event %s, which %s.events names",
            place.where,
            ", ".join(unused),
            place.section,
        )


def renamed(table: pl.DataFrame, events: Mapping[str, str | None]) -> pl.DataFrame:
    """Events with augrec's names, without rows whose name is mapped to None."""
    left_out = [name for name, event in events.items() if event is None]
    if left_out:
        table = table.filter(~pl.col(C.EVENT).is_in(left_out).fill_null(False))
    return table.with_columns(pl.col(C.EVENT).replace(events))
