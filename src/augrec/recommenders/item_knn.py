"""Item-KNN: items are alike when the same users met them; a history recommends its items' nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from augrec.component import ComponentConfig
from augrec.data.histories import Histories
from augrec.data.ranking import top_k
from augrec.recommenders._blend import popularity_share
from augrec.recommenders.base import Log, Recommender

_CELLS = 2**22
"""At most so many similarities are held at once before the nearest are kept."""


class ItemKnnConfig(ComponentConfig):
    """What makes two items alike, and how many of them count."""

    similarity: Literal["cosine", "tfidf", "bm25"] = "cosine"
    """cosine; tfidf: users with short histories say more; bm25: as tfidf, but divided by lengths in place of norms."""
    neighbours: int = Field(50, ge=1)
    """Each item keeps so many others, the most similar."""
    shrinkage: float = Field(50.0, ge=0)
    """A similarity resting on n users is multiplied by n / (n + shrinkage)."""
    bm25_k1: float = Field(1.2, gt=0)
    """bm25 only: how far an item's length matters at all."""
    bm25_b: float = Field(0.4, ge=0, le=1)
    """bm25 only: 0 all items divided alike, 1 by their length in full."""
    popularity_blend: float = Field(1.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity (the most popular item is 1) added."""


class ItemKnn(Recommender):
    """Neighbourhood model on items (Deshpande & Karypis 2004), with weighted and unobserved entries.

    The score of j is Σ_{i in history} s_ij over the pairs kept, with s_ij = p_ij / (d_i d_j) × p_ij / (p_ij + shrinkage)
    and p_ij = Σ_u w_u g_u² over the users who met both, i as an observed entry: the (effective) number of common users.

    | similarity | g_u | d_i |
    |---|---|---|
    | cosine | 1 | (Σ_u w_u g_u²)^½ over the users of i |
    | tfidf | ln(1 + items / items of u), scaled to mean square 1 | as cosine |
    | bm25 | as tfidf | 1 + k1 (1 - b + b × weight of i / mean weight), over 1 + k1 (Robertson & Zaragoza 2009) |

    Entry (u, i) has w = weight: a user of weight 2 counts as two users. Memory grows with items × neighbours.
    """

    Config = ItemKnnConfig

    def _fit(self, histories: Histories, cases: pl.DataFrame | None, log: Log) -> None:
        wanted = histories.matrix().sqrt()
        seen = histories.matrix(observed_only=True).sqrt()
        if self.config.similarity != "cosine":
            users = sp.diags_array(_user_importance(wanted).astype(np.float32))
            wanted, seen = sp.csr_matrix(users @ wanted), sp.csr_matrix(users @ seen)
        given, taken = self._divisor(seen), self._divisor(wanted)
        kept = [self._nearest(rows, pairs, given, taken) for rows, pairs in _products(seen, wanted)]
        rows, columns, values = (np.concatenate(part) for part in zip(*kept, strict=True))
        shape = (histories.n_items, histories.n_items)
        self._similarity = sp.csr_matrix((values, (rows, columns)), shape=shape, dtype=np.float32)

    def _divisor(self, entries: sp.csr_matrix) -> np.ndarray:
        """d of each item, above 0; float32 (n_items,)."""
        lengths = np.asarray(entries.multiply(entries).sum(0), dtype=np.float64).ravel()
        if self.config.similarity == "bm25":
            k1, b = self.config.bm25_k1, self.config.bm25_b
            divisor = (1 + k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-12))) / (1 + k1)
        else:
            divisor = np.sqrt(lengths)
        return np.where(divisor > 0, divisor, 1).astype(np.float32)

    def _nearest(
        self, rows: np.ndarray, pairs: sp.csr_matrix, given: np.ndarray, taken: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(item, neighbour, similarity) of the nearest of each of `rows`; `pairs` holds their p_ij, (B, n_items)."""
        lengths = np.diff(pairs.indptr)
        row = np.repeat(np.arange(len(rows)), lengths)
        place = np.arange(pairs.nnz) - np.repeat(pairs.indptr[:-1], lengths)
        p = pairs.data
        values = p * p / (p + self.config.shrinkage) / (given[rows][row] * taken[pairs.indices])
        values[pairs.indices == rows[row]] = 0
        packed = np.zeros((len(rows), max(1, lengths.max())), np.float32)  # absent pairs take no room
        neighbours = np.zeros(packed.shape, np.int32)
        packed[row, place], neighbours[row, place] = values, pairs.indices
        best, similarity = top_k(packed, min(self.config.neighbours, packed.shape[1]))
        items = np.broadcast_to(rows[:, None], best.shape)
        real = similarity > 0
        return items[real], np.take_along_axis(neighbours, best, axis=1)[real], similarity[real]

    def _scores(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        scores = popularity_share(self.popularity, seen.getnnz(1), self.config.popularity_blend)
        scores += (seen @ self._similarity).toarray()
        return scores

    def _model_state(self) -> dict[str, np.ndarray]:
        matrix = self._similarity
        return {"similarity": matrix.data, "neighbours": matrix.indices, "starts": matrix.indptr}

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        parts = (state["similarity"], state["neighbours"], state["starts"])
        self._similarity = sp.csr_matrix(parts, shape=(len(self.items), len(self.items)))


def _user_importance(wanted: sp.csr_matrix) -> np.ndarray:
    """g of each user, float64 (n,): its square has mean 1 over the weight of all entries."""
    lengths = np.maximum(wanted.getnnz(1), 1)
    importance = np.log1p(wanted.shape[1] / lengths)
    weight = np.asarray(wanted.multiply(wanted).sum(1), dtype=np.float64).ravel()
    return importance / np.sqrt((weight * importance**2).sum() / weight.sum())


def _products(seen: sp.csr_matrix, wanted: sp.csr_matrix) -> Iterator[tuple[np.ndarray, sp.csr_matrix]]:
    """Blocks of items, int64 (B,), with their rows of seenᵀ wanted; items met equally often stand together."""
    items = sp.csr_matrix(seen.T)
    order = np.argsort(items.getnnz(1), kind="stable")
    size = max(1, _CELLS // len(order))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        product = sp.csr_matrix(items[rows] @ wanted)
        product.sort_indices()  # equal similarities: the smaller item is kept
        yield rows, product
