"""Import a shop's own tables with the column mapping of `data.import` in params.yaml."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.config import (
    EventColumns,
    GroupColumns,
    GroupInteractionColumns,
    ImportConfig,
    InteractionColumns,
    ItemColumns,
    UserColumns,
)
from augrec.data.convert_numbers import numbers
from augrec.data.convert_times import times
from augrec.data.group_tables import GroupTables, canonical_groups
from augrec.data.importing.place import Place
from augrec.data.importing.source import Source, SourceTable, read_source

log = logging.getLogger(__name__)

TABLES: Final = ("interactions", "items", "users", "groups", "group_interactions")
"""What can be imported; all but the first are optional."""
_LIST_SEPARATORS: Final = ("|", ";", ",", "/", ">")


class Imported(NamedTuple):
    """What an import read.

    Attributes:
        tables: the canonical tables.
        left_out: {table: columns of the source that were not mapped}.
        groups: the tables of groups; None: they were not given.
    """

    tables: Tables
    left_out: dict[str, list[str]]
    groups: GroupTables | None


def import_tables(
    config: ImportConfig,
    interactions: Source,
    items: Source | None = None,
    users: Source | None = None,
    groups: Source | None = None,
    group_interactions: Source | None = None,
) -> Imported:
    """Read a shop's tables and convert them to canonical ones. No row is dropped, except those of
    events that are mapped to null: the rest is left to validation.

    Raises:
        ConfigError: the configuration in params.yaml is not possible, or there are choices of
            groups and no table of groups.
        InputError: a table is missing, empty, incomplete, lacks a mapped column, or could be read
            in two ways.
        TransientError: a database does not respond.
    """
    if group_interactions is not None and groups is None:
        raise ConfigError(
            "there are choices of groups, and no table says who is in a group",
            where="data.source",
            fix="give groups, a table with one row for each member of a group, too",
        )
    readers = {
        "interactions": (interactions, config.interactions, _interactions),
        "items": (items, config.items, _items),
        "users": (users, config.users, _users),
        "groups": (groups, config.groups, _groups),
        "group_interactions": (group_interactions, config.group_interactions, _choices),
    }
    found: dict[str, pl.DataFrame] = {}
    left_out = {}
    for name, (source, columns, convert_table) in readers.items():
        if source is not None:
            section = f"data.import.{name}"
            own = Mapped(read_source(source, columns, section), config.nulls)
            found[name] = convert_table(columns, own)  # type: ignore[operator]
            left_out[name] = own.left_out()
    members, chosen = found.pop("groups", None), found.pop("group_interactions", None)
    together = None if members is None else canonical_groups(members, chosen)
    return Imported(canonical_tables(**found), left_out, together)


def describe(**sources: Source | None) -> dict[str, Any]:
    """The description of an import for `write_raw`, without credentials; the sources as
    `import_tables` takes them."""
    return {
        "source": "import",
        "tables": {name: source.describe() for name, source in sources.items() if source},
    }


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


def _interactions(names: InteractionColumns, own: Mapped) -> pl.DataFrame:
    return _events(names, own, C.USER, names.user_id)


def _choices(names: GroupInteractionColumns, own: Mapped) -> pl.DataFrame:
    return _events(names, own, C.GROUP, names.group_id)


def _groups(names: GroupColumns, own: Mapped) -> pl.DataFrame:
    own.require({"group_id": names.group_id, "user_id": names.user_id})
    return pl.DataFrame([own.ids(names.group_id, C.GROUP), own.ids(names.user_id, C.USER)])


def _events(names: EventColumns, own: Mapped, key: str, who: str) -> pl.DataFrame:
    """A table of events of users or of groups, `key`, whose column is called `who`."""
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
    return _with_event_names(pl.DataFrame(columns), names.events, own.place)


def _with_event_names(
    table: pl.DataFrame, events: dict[str, str | None], place: Place
) -> pl.DataFrame:
    known = set(table[C.EVENT].unique())
    if unused := [name for name in events if name not in known]:
        log.warning(
            "%s: no row has the event %s, which %s.events names",
            place.where,
            ", ".join(unused),
            place.section,
        )
    left_out = [name for name, event in events.items() if event is None]
    if left_out:
        table = table.filter(~pl.col(C.EVENT).is_in(left_out).fill_null(False))
    return table.with_columns(pl.col(C.EVENT).replace(events))


def _items(names: ItemColumns, own: Mapped) -> pl.DataFrame:
    texts = {C.TITLE: names.title, C.DESCRIPTION: names.description}
    lists = {C.CATEGORIES: names.categories, C.TAGS: names.tags}
    own.require({"item_id": names.item_id, **texts, **lists, "price": names.price}, names.extra)
    columns = [own.ids(names.item_id, C.ITEM)]
    columns += [convert.texts(own.take(name)).alias(key) for key, name in texts.items() if name]
    for key, name in lists.items():
        if name is not None:
            text = own.take(name)
            _warn_of_separator(text, names.list_separator, own.place)
            columns.append(convert.lists(text, names.list_separator).alias(key))
    if names.price is not None:
        price = numbers(own.take(names.price), pl.Float64, own.place, names.decimal)
        columns.append(price.alias(C.PRICE))
    further = own.extra(names.extra, [column.name for column in columns])
    return pl.DataFrame([*columns, *further])


def _warn_of_separator(column: pl.Series, separator: str, place: Place) -> None:
    """Warn where each text would become one category though another separator is in most."""
    if column.dtype != pl.String or column.str.contains(separator, literal=True).any():
        return
    plain = column.filter(~column.str.contains(r"^\s*[\[{]").fill_null(True))
    for other in _LIST_SEPARATORS:
        if len(plain) > 1 and plain.str.contains(other, literal=True).sum() > len(plain) / 2:
            log.warning(
                "%s: no text has the separator %r, most have %r: each becomes one entry; %s",
                place.column(column.name),
                separator,
                other,
                place.advise("", list_separator=f'"{other}" if it separates'),
            )
            return


def _users(names: UserColumns, own: Mapped) -> pl.DataFrame:
    own.require({"user_id": names.user_id}, names.extra)
    user = own.ids(names.user_id, C.USER)
    further = own.extra(names.extra, [C.USER])
    for column in further:
        if column.dtype.is_nested():
            raise InputError(
                f"the attribute {column.name} has several values for each user",
                where=own.place.column(column.name),
                fix=f"remove it from {own.place.section}.extra, or export one value for each user",
            )
    return pl.DataFrame([user, *further])
