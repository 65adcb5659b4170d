"""MovieLens 1M and 10M: ratings.dat, movies.dat and (1M) users.dat, columns separated by two
colons."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.importing.place import Place
from augrec.data.sources._files import delimited, find, need, ratings

AGES: Final = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}


def read(folder: Path) -> Tables:
    """Read the folder. Zip codes are left out: they could identify a person and are not needed."""
    path = need(folder, "ratings.dat")
    rows = delimited(path, (C.USER, C.ITEM, C.VALUE, C.TIMESTAMP), "::")
    user_path = find(folder, "users.dat")
    return canonical_tables(
        ratings(rows, unit="s", where=str(path)),
        movies(need(folder, "movies.dat")),
        _users(user_path) if user_path else None,
    )


def movies(path: Path) -> pl.DataFrame:
    """Items from lines `id::title (year)::genre|genre`."""
    table = delimited(path, (C.ITEM, C.TITLE, C.CATEGORIES), "::")
    return pl.DataFrame(
        [
            convert.ids(table[C.ITEM], Place(str(path))),
            convert.texts(table[C.TITLE]),
            convert.lists(table[C.CATEGORIES], "|"),
        ]
    ).with_columns(pl.col(C.TITLE).str.extract(r"\((\d{4})\)\s*$").alias("release_year"))


def _users(path: Path) -> pl.DataFrame:
    table = delimited(path, (C.USER, "gender", "age_group", "occupation", "zip_code"), "::")
    return table.drop("zip_code").with_columns(pl.col("age_group").replace(AGES))
