"""MovieLens 100k: GroupLens' own files (u.data …) or the same data as atomic files (ml-100k.inter
…)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.sources import recbole
from augrec.data.sources._files import delimited, find, need, ratings

GENRES: Final = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The order of the genre columns in u.item."""

_ITEM_COLUMNS = (C.ITEM, C.TITLE, "released", "video", "url", *GENRES)
_USER_COLUMNS = (C.USER, "age", "gender", "occupation", "zip_code")


def read(folder: Path) -> Tables:
    """Read either form. Zip codes are left out: they could identify a person and are not
    needed."""
    if find(folder, "u.data") is None and find(folder, "*.inter") is not None:
        tables = recbole.read(folder)
        return Tables(tables.interactions, tables.items, _attributes(tables.users))
    path = need(folder, "u.data")
    rows = delimited(path, (C.USER, C.ITEM, C.VALUE, C.TIMESTAMP), "\t")
    items = delimited(need(folder, "u.item"), _ITEM_COLUMNS, "|")
    users = delimited(need(folder, "u.user"), _USER_COLUMNS, "|")
    return canonical_tables(
        ratings(rows, unit="s", where=str(path)), _items(items), _attributes(users)
    )


def _items(table: pl.DataFrame) -> pl.DataFrame:
    flags = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES]
    genres = table.select(pl.concat_list(flags).list.drop_nulls().alias(C.CATEGORIES))[C.CATEGORIES]
    return pl.DataFrame(
        [table[C.ITEM], convert.texts(table[C.TITLE]), convert.lists(genres, "|")]
    ).with_columns(pl.col(C.TITLE).str.extract(r"\((\d{4})\)\s*$").alias("release_year"))


def _attributes(users: pl.DataFrame) -> pl.DataFrame:
    return users.drop("zip_code").with_columns(pl.col("age").cast(pl.Int64, strict=False))
