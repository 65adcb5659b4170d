"""Content: recommends items described like those of the history, by the words of their titles,
categories and tags."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.recommenders._blend import popularity_share
from augrec.recommenders._embeddings import embed
from augrec.recommenders.base import Recommender

_WORD = r"[\p{L}\p{N}]+"
_TEXTS = (C.TITLE, C.DESCRIPTION, C.CATEGORIES, C.TAGS)


class ContentConfig(BaseConfig):
    """Which words describe an item, and the weight of each column."""

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
    """At most this number of words is kept, those of the most items."""
    popularity_blend: float = Field(20.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity (the most popular
    item is 1) added."""
    max_new_items: int = Field(0, ge=0)
    """At most this number of items without interactions may be recommended too: the last ones of
    the items table that have a text."""
    embeddings: str | None = None
    """An installed module that turns texts into vectors, such as sentence_transformers; null: words
    alone."""
    embedding_model: str | None = None
    """Where that module needs it: the folder that holds its model."""
    embedding_share: float = Field(0.5, ge=0, le=1)
    """Weight of the vectors' cosine against that of the words."""


class Content(Recommender):
    """Compares TF-IDF vectors of items (Salton & Buckley 1988); a user is the mean of the history's
    items.

    A word is a word of the title or the description, in lower case, or a whole category or tag; the
    same word in two columns is two. Its value in an item is c (1 + ln count) (1 + ln((1 + items) /
    (1 + items with it))) with c the weight of the column; vectors have length 1, so a score is the
    mean cosine to the items of the history, in [0, 1]. Items without words are as far from all
    others as can be. Interactions decide the catalogue and the popularity, no more. With sentence
    embeddings (see `augrec.recommenders._embeddings`) their cosine is mixed in. An item without
    interactions has popularity 0 and is ranked by its words.
    """

    Config = ContentConfig
    draws = False
    cost = "solving"
    search_space: ClassVar = {
        "popularity_blend": {"low": 0.1, "high": 100.0, "log": True},
    }

    def check_fits(self, shape: DataShape) -> None:
        """Refuse an items table without a value in any of the columns that have a weight."""
        if not any(getattr(self.config, name) for name in _TEXTS if name in shape.item_columns):
            raise self._no_words()

    def _fit(self, data: TrainingData) -> None:
        items = data.items
        if items is None:
            raise InputError(
                "this recommender needs the items table, and there is none",
                where="training data, items",
                fix="give the table data/prepared/items.parquet",
            )
        require(items, {C.ITEM: pl.String}, where="items table")
        if self.config.max_new_items:
            ids = np.concatenate([data.catalogue.ids, self._new_items(items, data.catalogue)])
            self.items = ItemIndex(ids)
            self.popularity = data.popularity_in(self.items)
        counted = self._count(items)
        if counted.is_empty():
            raise self._no_words()
        self._vectors = self._weigh(counted)
        self._embedded = np.zeros((len(self.items), 0), np.float32)
        if self.config.embeddings is not None and self.config.embedding_share:
            texts = self._texts(items)
            self._embedded = embed(self.config.embeddings, self.config.embedding_model, texts)

    def _no_words(self) -> InputError:
        weights = ", ".join(f"{name} {getattr(self.config, name):g}" for name in _TEXTS)
        return InputError(
            "no word describes any item of the training interactions",
            where=f"items table; weights of its columns: {weights}",
            fix="map a text column under data.import.items in params.yaml",
        )

    def _new_items(self, items: pl.DataFrame, met: ItemIndex) -> np.ndarray:
        """Ids, str (n,), of the last items of the table that no user has met and that a text
        describes."""
        texts = list(self._columns(items))
        described = pl.any_horizontal(pl.col(texts).is_not_null()) if texts else pl.lit(False)
        is_new = pl.Series(met.encode(items[C.ITEM]) < 0)
        new = items.filter(is_new & described)[C.ITEM].drop_nulls().unique(maintain_order=True)
        return new.tail(self.config.max_new_items).to_numpy().astype(str)

    def _columns(self, items: pl.DataFrame) -> dict[str, float]:
        """The columns of `items` that hold words, with their weights."""
        weights = {name: getattr(self.config, name) for name in _TEXTS}
        return {
            name: w
            for name, w in weights.items()
            if w and items.schema.get(name, pl.Null) != pl.Null
        }

    def _texts(self, items: pl.DataFrame) -> list[str]:
        """What is written about each item of the catalogue, "" where nothing is."""
        parts = [
            pl.col(name).cast(pl.List(pl.String)).list.drop_nulls().list.join(", ")
            if isinstance(items.schema[name], pl.List)
            else pl.col(name).cast(pl.String)
            for name in self._columns(items)
        ]
        text = pl.concat_str(parts, separator=". ", ignore_nulls=True) if parts else pl.lit("")
        table = items.unique(C.ITEM, keep="first", maintain_order=True).select(C.ITEM, text=text)
        texts = np.full(len(self.items), "", dtype=object)
        positions = self.items.encode(table[C.ITEM])
        texts[positions[positions >= 0]] = table["text"].fill_null("").to_numpy()[positions >= 0]
        return texts.tolist()

    def _count(self, items: pl.DataFrame) -> pl.DataFrame:
        """One row for each item of the catalogue and word: position, word, weight of the column,
        count."""
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
            for name, weight in self._columns(table).items()
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

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        lengths = seen.getnnz(1)
        seen.data[:] = 1
        scores = popularity_share(self.popularity, lengths, self.config.popularity_blend)
        means = sp.csr_matrix(
            sp.diags_array((1 / np.maximum(lengths, 1)).astype(np.float32)) @ seen
        )
        share = self._embedding_share
        scores += (1 - share) * (means @ self._vectors @ self._by_word).toarray()
        if share:
            scores += share * ((means @ self._embedded) @ self._embedded.T)
        return scores

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Exactly: its cosine to the target over the number of items; popularity's part belongs to
        no item."""
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        lengths = histories.matrix().getnnz(1)[user]
        given, taken = np.repeat(histories.items, targets.shape[1]), targets[user].ravel()
        share = self._embedding_share
        cosines = (1 - share) * np.asarray(
            self._vectors[given].multiply(self._vectors[taken]).sum(1)
        ).ravel()
        cosines += share * (self._embedded[given] * self._embedded[taken]).sum(1)
        return (cosines.reshape(len(user), targets.shape[1]) / lengths[:, None]).astype(np.float32)

    @property
    def word_vectors(self) -> sp.csr_matrix:
        """TF-IDF vectors of the catalogue's items, of length 1 or 0, float32 (n_items, n_words)."""
        return self._vectors

    @property
    def _embedding_share(self) -> float:
        return self.config.embedding_share if self._embedded.shape[1] else 0.0

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
            "embedded": self._embedded,
        }

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        shape = (len(self.items), int(state["n_words"][0]))
        self._vectors = sp.csr_matrix(
            (state["values"], state["words"], state["starts"]), shape=shape
        )
        self._embedded = state["embedded"]


def _words(name: str, kind: pl.DataType) -> pl.Expr:
    """The words of a column, List(String): of text each word, of a list each entry."""
    if isinstance(kind, pl.List):
        return pl.col(name).cast(pl.List(pl.String)).list.drop_nulls()
    return pl.col(name).cast(pl.String).str.to_lowercase().str.extract_all(_WORD)
