"""Content: recommends items described like those of the history, by the words of their titles, categories and tags."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from augrec.component import ComponentConfig
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories
from augrec.errors import InputError
from augrec.recommenders._blend import popularity_share
from augrec.recommenders.base import Log, Recommender

_WORD = r"[\p{L}\p{N}]+"


class ContentConfig(ComponentConfig):
    """Which words describe an item, and how loud each column speaks."""

    title: float = Field(0.5, ge=0)
    """Weight of the words of the title; 0 leaves the column out."""
    description: float = Field(1.0, ge=0)
    """Weight of the words of the description."""
    categories: float = Field(1.0, ge=0)
    """Weight of the categories, each taken whole."""
    tags: float = Field(1.0, ge=0)
    """Weight of the tags, each taken whole."""
    min_items: int = Field(2, ge=1)
    """Words that describe fewer items are left out."""
    max_share: float = Field(0.5, gt=0, le=1)
    """Words that describe more than this share of the items are left out."""
    max_words: int = Field(50_000, ge=1)
    """So many words are kept at most, those of the most items."""
    popularity_blend: float = Field(20.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity (the most popular item is 1) added."""


class Content(Recommender):
    """Compares TF-IDF vectors of items (Salton & Buckley 1988); a user is the mean of the history's items.

    A word is a word of the title or the description, in lower case, or a whole category or tag; the same word in two
    columns is two. Its value in an item is c (1 + ln count) (1 + ln((1 + items) / (1 + items with it))) with c the weight
    of the column; vectors have length 1, so a score is the mean cosine to the items of the history, in [0, 1]. Items
    without words are as far from all others as can be. Interactions decide the catalogue and the popularity, no more.
    """

    Config = ContentConfig

    def _read_items(self, items: pl.DataFrame | None) -> None:
        if items is None:
            raise InputError("this recommender needs the items table, and there is none", where="content",
                             fix="pass items to fit: the table data/prepared/items.parquet")  # fmt: skip
        require(items, {C.ITEM: pl.String}, where="items table")
        counted = self._count(items)
        if counted.is_empty():
            weights = ", ".join(f"{name} {weight:g}" for name, weight in self._columns().items())
            raise InputError("no word describes any item of the training interactions",
                             where=f"items table; weights of its columns: {weights}",
                             fix="map a text column under data.import.items in params.yaml")  # fmt: skip
        self._vectors = self._weigh(counted)

    def _columns(self) -> dict[str, float]:
        return {name: getattr(self.config, name) for name in (C.TITLE, C.DESCRIPTION, C.CATEGORIES, C.TAGS)}

    def _count(self, items: pl.DataFrame) -> pl.DataFrame:
        """One row for each item of the catalogue and word: position, word, weight of the column, count."""
        table = items.with_columns(position=pl.Series(self.items.encode(items[C.ITEM])))
        table = table.filter(pl.col("position") >= 0)
        parts = [
            table.select(
                "position",
                weight=pl.lit(weight, pl.Float64),
                word=_words(name, table.schema[name]),
            )
            .explode("word", empty_as_null=False, keep_nulls=False)
            .with_columns(word=pl.lit(f"{name}:") + pl.col("word"))
            for name, weight in self._columns().items()
            if weight and name in table.columns and table.schema[name] != pl.Null
        ]
        empty = pl.DataFrame(schema={"position": pl.Int32, "weight": pl.Float64, "word": pl.String})
        return pl.concat([empty, *parts]).group_by("position", "word", "weight").agg(count=pl.len())

    def _weigh(self, counted: pl.DataFrame) -> sp.csr_matrix:
        """TF-IDF vectors of length 1 or 0, float32 (n_items, n_words)."""
        n_items = len(self.items)
        words = (
            counted.group_by("word")
            .agg(items=pl.len())
            .filter(
                (pl.col("items") >= self.config.min_items)
                & (pl.col("items") <= self.config.max_share * n_items)
            )
            .sort(["items", "word"], descending=[True, False])
            .head(self.config.max_words)
            .with_row_index("column")
        )
        entries = counted.join(words, on="word").sort("position", "column")
        rarity = 1 + np.log((1 + n_items) / (1 + entries["items"].to_numpy()))
        values = entries["weight"].to_numpy() * (1 + np.log(entries["count"].to_numpy())) * rarity
        rows, columns = entries["position"].to_numpy(), entries["column"].to_numpy()
        norms = np.sqrt(np.bincount(rows, values**2, minlength=n_items))
        shape = (n_items, len(words))
        return sp.csr_matrix((values / norms[rows], (rows, columns)), shape=shape, dtype=np.float32)

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        """Nothing is left to learn: `_read_items` has made the vectors."""

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        lengths = seen.getnnz(1)
        seen.data[:] = 1
        scores = popularity_share(self.popularity, lengths, self.config.popularity_blend)
        profiles = sp.diags_array((1 / np.maximum(lengths, 1)).astype(np.float32)) @ (seen @ self._vectors)
        scores += (profiles @ self._by_word).toarray()
        return scores

    @property
    def _by_word(self) -> sp.csr_matrix:
        return self._vectors.T.tocsr()

    def _model_state(self) -> dict[str, np.ndarray]:
        matrix = self._vectors
        return {
            "values": matrix.data,
            "words": matrix.indices,
            "starts": matrix.indptr,
            "n_words": np.array([matrix.shape[1]]),
        }

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        shape = (len(self.items), int(state["n_words"][0]))
        self._vectors = sp.csr_matrix((state["values"], state["words"], state["starts"]), shape=shape)


def _words(name: str, kind: pl.DataType) -> pl.Expr:
    """The words of a column, List(String): of text each word, of a list each entry."""
    if isinstance(kind, pl.List):
        return pl.col(name).cast(pl.List(pl.String)).list.drop_nulls()
    return pl.col(name).cast(pl.String).str.to_lowercase().str.extract_all(_WORD)
