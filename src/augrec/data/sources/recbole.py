"""Atomic files: tab-separated tables whose header names each column and its type, such as
`user_id:token`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from augrec.core.errors import InputError
from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.convert_numbers import numbers
from augrec.data.importing.delimited import ATOMIC
from augrec.data.importing.place import Place
from augrec.data.sources._files import find, find_all, need, ratings, with_header

_TITLES = ("title", "movie_title", "item_name", "name")
_CATEGORIES = ("categories", "category", "class", "genre", "genres")
_PARTS = (".train", ".valid", ".test")


def read(folder: Path) -> Tables:
    """Read *.inter in `folder`, and the optional *.item and *.user.

    The value is the rating, if there is one; sequences of tokens are split at spaces. Other columns
    of items and users are kept. NAME.train.inter, NAME.valid.inter and NAME.test.inter are joined.
    """
    paths = _interaction_files(folder)
    names = {name: name for name in (C.USER, C.ITEM, C.TIMESTAMP)}
    rows = pl.concat([with_header(path, names, ATOMIC) for path in paths], how="diagonal")
    rows = rows.rename({"rating": C.VALUE}, strict=False)
    where = ", ".join(str(path) for path in paths)
    if C.VALUE in rows.columns:
        interactions = ratings(rows, unit="s", where=where)
    else:
        interactions = ratings(
            rows.with_columns(pl.lit(None, pl.Float32).alias(C.VALUE)), unit="s", where=where
        ).with_columns(pl.lit("view").alias(C.EVENT))
    item_path, user_path = find(folder, "*.item"), find(folder, "*.user")
    return canonical_tables(
        interactions,
        _items(with_header(item_path, {C.ITEM: C.ITEM}, ATOMIC)) if item_path else None,
        with_header(user_path, {C.USER: C.USER}, ATOMIC) if user_path else None,
    )


def _interaction_files(folder: Path) -> list[Path]:
    paths = find_all(folder, "*.inter") or [need(folder, "*.inter")]
    stems = [path.name.removesuffix(".gz").removesuffix(".inter") for path in paths]
    wholes = {stem.removesuffix(part) for stem in stems for part in _PARTS if stem.endswith(part)}
    if len(paths) > 1 and not (len(wholes) == 1 and all(s.endswith(_PARTS) for s in stems)):
        raise InputError(
            f"several files could be meant: {', '.join(path.name for path in paths)}",
            where=str(folder),
            fix="leave one of them in the folder, or NAME.train.inter, NAME.valid.inter and "
            "NAME.test.inter, which are joined",
        )
    return paths


def _items(table: pl.DataFrame) -> pl.DataFrame:
    title = next((name for name in _TITLES if name in table.columns), None)
    categories = next((name for name in _CATEGORIES if name in table.columns), None)
    if title:
        table = table.rename({title: C.TITLE})
    if categories:
        lists = convert.lists(table[categories].cast(pl.String), " ").alias(C.CATEGORIES)
        table = table.drop(categories).with_columns(lists)
    if C.PRICE in table.columns:
        table = table.with_columns(numbers(table[C.PRICE], pl.Float64, Place("items"), "."))
    # columns of a canonical name that hold plain text
    wrong = [name for name in (C.TAGS,) if name in table.columns]
    return table.with_columns(convert.lists(table[name], " ") for name in wrong)
