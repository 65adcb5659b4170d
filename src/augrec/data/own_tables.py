"""Import a shop's own tables with the column mapping of `data.import` in params.yaml."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data import convert
from augrec.data.canonical import LazyTables, canonical_attributes, canonical_interactions
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
from augrec.data.group_tables import GroupTables, canonical_groups
from augrec.data.importing.blocks import LARGE_BYTES, WholeOnlyError, text_bytes
from augrec.data.importing.place import Place
from augrec.data.importing.source import Source, read_source
from augrec.data.mapped import Mapped, convert_events, renamed, warn_of_unused
from augrec.data.own_interactions import InBlocks, check_memory, import_in_blocks

log = logging.getLogger(__name__)

TABLES: Final = ("interactions", "items", "users", "groups", "group_interactions")
"""What can be imported; all but the first are optional."""
_LIST_SEPARATORS: Final = ("|", ";", ",", "/", ">")


class Imported(NamedTuple):
    """What an import read.

    Attributes:
        tables: the canonical tables; interactions are not read yet.
        left_out: {table: columns of the source that were not mapped}.
        groups: the tables of groups; None: they were not given.
    """

    tables: LazyTables
    left_out: dict[str, list[str]]
    groups: GroupTables | None


def import_tables(
    config: ImportConfig,
    interactions: Source,
    items: Source | None = None,
    users: Source | None = None,
    groups: Source | None = None,
    group_interactions: Source | None = None,
    *,
    scratch: Path | None = None,
) -> Imported:
    """Read a shop's tables and convert them to canonical ones. No row is dropped, except those of
    events that are mapped to null: the rest is left to validation.

    Args:
        config: the mapping of columns.
        interactions, items, users, groups, group_interactions: where the tables are.
        scratch: an empty folder that the interactions may be read from later, if they are too many
            to be read whole; None: they are read whole.

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
    blocks = None if scratch is None else _in_blocks(config, interactions, scratch)
    for name, (source, columns, convert_table) in readers.items():
        if name == "interactions" and blocks is not None:
            left_out[name] = blocks.left_out
        elif source is not None:
            section = f"data.import.{name}"
            own = Mapped(read_source(source, columns, section), config.nulls)
            found[name] = convert_table(columns, own)  # type: ignore[operator]
            left_out[name] = own.left_out()
    members, chosen = found.pop("groups", None), found.pop("group_interactions", None)
    together = None if members is None else canonical_groups(members, chosen)
    rows = (
        canonical_interactions(found["interactions"]).lazy()
        if blocks is None
        else blocks.interactions
    )
    attributes = canonical_attributes(rows, found.get("items"), found.get("users"))
    return Imported(LazyTables(rows, *attributes), left_out, together)


def _in_blocks(config: ImportConfig, source: Source, scratch: Path) -> InBlocks | None:
    """The interactions, if they are many; None: they are to be read whole."""
    if text_bytes(source) <= LARGE_BYTES:
        return None
    try:
        return import_in_blocks(config, source, scratch)
    except WholeOnlyError as reason:
        check_memory(source, reason)
        return None


def describe(**sources: Source | None) -> dict[str, Any]:
    """The description of an import for `write_raw`, without credentials; the sources as
    `import_tables` takes them."""
    return {
        "source": "import",
        "tables": {name: source.describe() for name, source in sources.items() if source},
    }


def _interactions(names: InteractionColumns, own: Mapped) -> pl.DataFrame:
    return _events(names, own, C.USER, names.user_id)


def _choices(names: GroupInteractionColumns, own: Mapped) -> pl.DataFrame:
    return _events(names, own, C.GROUP, names.group_id)


def _groups(names: GroupColumns, own: Mapped) -> pl.DataFrame:
    own.require({"group_id": names.group_id, "user_id": names.user_id})
    return pl.DataFrame([own.ids(names.group_id, C.GROUP), own.ids(names.user_id, C.USER)])


def _events(names: EventColumns, own: Mapped, key: str, who: str) -> pl.DataFrame:
    table = convert_events(names, own, key, who)
    warn_of_unused(names.events, set(table[C.EVENT].unique()), own.place)
    return renamed(table, names.events)


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
