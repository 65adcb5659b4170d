"""Readers of public datasets, one file for each layout.

A reader takes the folder with the dataset's files, as they are published, and returns the canonical
tables. It reads only the files it needs; ids become strings; no row is dropped.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from augrec.core.errors import ConfigError, InputError
from augrec.data.canonical import Tables

LAYOUTS: Final = {
    "movielens-100k": "u.data, u.item, u.user; or the same as atomic files ml-100k.inter, .item, "
    ".user",
    "movielens-1m": "ratings.dat, movies.dat, users.dat (10M: without users)",
    "movielens-latest": "ratings.csv, movies.csv, tags.csv (also 20M, 25M, 32M)",
    "movietweetings": "ratings.dat, movies.dat, also gzipped",
    "amazon": "one file of reviews as JSON lines and its meta_ file, 2014, 2018 or 2023, also "
    "gzipped",
    "recbole": "any dataset as atomic files: *.inter, *.item, *.user",
}
"""Layout -> the files it reads. The module of a layout has the same name, with underscores."""


def read(layout: str, folder: Path) -> Tables:
    """Read a public dataset.

    Args:
        layout: one of `LAYOUTS`.
        folder: where its files are.

    Raises:
        ConfigError: there is no such layout.
        InputError: the folder or a file is missing, or a file does not have that layout.
    """
    if layout not in LAYOUTS:
        raise ConfigError(
            f"there is no layout called {layout!r}",
            where="data sources",
            fix=f"use one of: {', '.join(LAYOUTS)}",
        )
    if not folder.is_dir():
        raise InputError(
            "there is no such folder",
            where=str(folder),
            fix=f"give the folder with {LAYOUTS[layout]}",
        )
    module = importlib.import_module(f"augrec.data.sources.{layout.replace('-', '_')}")
    tables: Tables = module.read(folder)
    return tables
