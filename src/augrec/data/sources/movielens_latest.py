"""MovieLens latest, 20M, 25M and 32M: ratings.csv, movies.csv and tags.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from augrec.data import convert
from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.sources._files import find, need, ratings, with_header

MAX_TAGS: Final = 20
"""At most this number of tags are kept for each item, the most frequent ones."""


def read(folder: Path) -> Tables:
    """Read the folder; users have no attributes."""
    path = need(folder, "ratings.csv")
    rows = with_header(
        path, {"userId": C.USER, "movieId": C.ITEM, "rating": C.VALUE, "timestamp": C.TIMESTAMP}
    )
    items = with_header(
        need(folder, "movies.csv"), {"movieId": C.ITEM, "title": C.TITLE, "genres": C.CATEGORIES}
    )
    genres = items[C.CATEGORIES].replace({"(no genres listed)": None})
    items = items.with_columns(
        convert.lists(genres, "|"),
        pl.col(C.TITLE).str.extract(r"\((\d{4})\)\s*$").alias("release_year"),
    )
    if (tag_path := find(folder, "tags.csv")) is not None:
        items = items.join(_tags(tag_path), on=C.ITEM, how="left", maintain_order="left")
    return canonical_tables(ratings(rows, unit="s", where=str(path)), items)


def _tags(path: Path) -> pl.DataFrame:
    return (
        with_header(path, {"movieId": C.ITEM, "tag": "tag"})
        .with_columns(pl.col("tag").str.strip_chars().str.to_lowercase())
        .filter(pl.col("tag").str.len_chars() > 0)
        .group_by(C.ITEM, "tag")
        .len()
        .sort(C.ITEM, "len", "tag", descending=[False, True, False])
        .group_by(C.ITEM, maintain_order=True)
        .agg(pl.col("tag").head(MAX_TAGS).alias(C.TAGS))
    )
