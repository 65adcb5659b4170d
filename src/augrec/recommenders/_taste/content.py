"""Fixed vectors of what an items table says about items, alike from run to run."""

from __future__ import annotations

import zlib

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex

_WORD = r"[\p{L}\p{N}]+"
_TEXTS = (C.TITLE, C.DESCRIPTION, C.CATEGORIES, C.TAGS)


def content_vectors(items: pl.DataFrame | None, index: ItemIndex, width: int) -> np.ndarray:
    """A vector for each item of the catalogue, float32 (n_items, width), of length 1 or 0.

    Words of title and description, whole categories and tags, each by a signed hash (Weinberger et
    al. 2009, arXiv 0902.2206) over √(items with it), and numbers, standardised, by a hash of their
    column. No vocabulary is learnt, so that vectors of two runs can be compared, and an item that
    appears later gets one alike.

    Args:
        items: the items table; None: all vectors are 0.
        index: the catalogue.
        width: at least 1.
    """
    vectors = np.zeros((len(index), width), np.float32)
    if items is None or items.is_empty():
        return vectors
    table = items.unique(C.ITEM, keep="first", maintain_order=True)
    table = table.with_columns(position=pl.Series(index.encode(table[C.ITEM])))
    table = table.filter(pl.col("position") >= 0)
    rows = np.zeros(0, np.int64)
    for name in _columns(table):
        found = _values(table, name)
        position, words = found["position"].to_numpy(), found["word"].to_list()
        column, sign = _hashes(name, words, width)
        np.add.at(vectors, (position, column), sign * found["value"].to_numpy())
        rows = np.union1d(rows, position)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > 0, vectors / np.where(norms > 0, norms, 1), 0).astype(np.float32)


def _columns(table: pl.DataFrame) -> list[str]:
    """Columns of texts, and of numbers, that hold anything."""
    kinds = table.schema
    named = [name for name in _TEXTS if kinds.get(name, pl.Null) != pl.Null]
    numeric = [name for name, kind in kinds.items() if kind.is_numeric() and name != "position"]
    return named + numeric


def _values(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """One row for each item and word of a column, sorted: position, word, value."""
    kind = table.schema[name]
    if kind.is_numeric():
        numbers = pl.col(name).cast(pl.Float64).fill_nan(None)
        kept = table.select("position", word=pl.lit(""), value=numbers).drop_nulls()
        spread = kept["value"].std() or 1.0
        return kept.with_columns((pl.col("value") - pl.col("value").mean()) / spread)
    words = (
        pl.col(name).cast(pl.List(pl.String)).list.drop_nulls()
        if isinstance(kind, pl.List)
        else pl.col(name).cast(pl.String).str.to_lowercase().str.extract_all(_WORD)
    )
    rows = table.select("position", word=words).explode("word").drop_nulls().unique()
    return rows.with_columns(value=1 / pl.len().over("word").cast(pl.Float64).sqrt()).sort(
        "position", "word"
    )


def _hashes(column: str, words: list[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """The place and the sign of each word, int64 and float64 (n,)."""
    codes = np.array([zlib.crc32(f"{column}:{word}".encode()) for word in words], dtype=np.int64)
    return codes // 2 % width, 1.0 - 2.0 * (codes % 2)
