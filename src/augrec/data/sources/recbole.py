"""Atomic files: tab-separated tables whose header names each column and its type, such as
`user_id:token`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from augrec.core.errors import InputError
from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.sources._files import find, need, ratings

_TITLES = ("title", "movie_title", "item_name", "name")
_CATEGORIES = ("categories", "category", "class", "genre", "genres")


def read(folder: Path) -> Tables:
    """Read *.inter in `folder`, and the optional *.item and *.user.

    The value is the rating, if there is one; sequences of tokens are split at spaces. Other columns
    of items and users are kept.
    """
    path = need(folder, "*.inter")
    rows = _table(path).rename({"rating": C.VALUE}, strict=False)
    missing = [name for name in (C.USER, C.ITEM, C.TIMESTAMP) if name not in rows.columns]
    if missing:
        raise InputError(
            f"missing columns: {', '.join(missing)}; found: {', '.join(rows.columns)}",
            where=str(path),
            fix="augrec splits by time: it needs users, items and timestamps",
        )
    if C.VALUE in rows.columns:
        interactions = ratings(rows, unit="s", where=str(path))
    else:
        interactions = ratings(
            rows.with_columns(pl.lit(None, pl.Float32).alias(C.VALUE)), unit="s", where=str(path)
        )
        interactions = interactions.with_columns(pl.lit("view").alias(C.EVENT))
    item_path, user_path = find(folder, "*.item"), find(folder, "*.user")
    return canonical_tables(
        interactions,
        _items(_table(item_path)) if item_path else None,
        _table(user_path) if user_path else None,
    )


def _table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the file cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="it may be empty or incomplete; get it again",
        ) from error
    kinds = {name.partition(":")[0]: name.partition(":")[2] for name in table.columns}
    numbers = [name for name, kind in kinds.items() if kind == "float"]
    return table.rename(lambda name: name.partition(":")[0]).cast(
        dict.fromkeys(numbers, pl.Float64), strict=False
    )


def _items(table: pl.DataFrame) -> pl.DataFrame:
    title = next((name for name in _TITLES if name in table.columns), None)
    categories = next((name for name in _CATEGORIES if name in table.columns), None)
    if title:
        table = table.rename({title: C.TITLE})
    if categories:
        lists = convert.lists(table[categories].cast(pl.String), " ").alias(C.CATEGORIES)
        table = table.drop(categories).with_columns(lists)
    if C.PRICE in table.columns:
        table = table.with_columns(convert.numbers(table[C.PRICE], pl.Float64, where="items"))
    # columns of a canonical name that hold plain text
    wrong = [name for name in (C.TAGS,) if name in table.columns]
    return table.with_columns(convert.lists(table[name], " ") for name in wrong)
