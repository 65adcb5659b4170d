"""MovieTweetings: ratings of 0 to 10 from tweets; ratings.dat and movies.dat, also gzipped."""

from __future__ import annotations

from pathlib import Path

from augrec.data.canonical import Tables, canonical_tables
from augrec.data.columns import Columns as C
from augrec.data.sources._files import delimited, need, ratings
from augrec.data.sources.movielens_1m import movies


def read(folder: Path) -> Tables:
    """Read the folder; users have no attributes."""
    path = need(folder, "ratings.dat")
    rows = delimited(path, (C.USER, C.ITEM, C.VALUE, C.TIMESTAMP), "::")
    return canonical_tables(
        ratings(rows, unit="s", where=str(path)), movies(need(folder, "movies.dat"))
    )
