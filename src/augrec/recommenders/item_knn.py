"""Item-KNN: items are alike when the same users met them; a history recommends its items' nearest
neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from augrec.core.config import Auto, BaseConfig
from augrec.core.data_shape import DataShape
from augrec.core.memory import refuse_beyond
from augrec.data.histories import Histories
from augrec.data.ranking import top_k
from augrec.data.training_data import TrainingData
from augrec.recommenders._blended import BlendedRecommender
from augrec.recommenders._product import dense_product, is_large, n_multiplications

_CELLS = 2**19
"""At most this number of similarities is held at once before the nearest are kept."""
_FULL = 0.1
"""From this number of products per cell on, a block is computed in full."""
_TINY = np.float32(1e-30)
_PAIR_BYTES = 24
"""Of a pair of neighbours: found, and once more in the order of the matrix."""


class ItemKnnConfig(BaseConfig):
    """What makes two items alike, and how many of them count."""

    similarity: Literal["cosine", "tfidf", "bm25"] = "tfidf"
    """cosine; tfidf: users with short histories say more; bm25: as tfidf, but divided by lengths in
    place of norms."""
    neighbours: int = Field(200, ge=1)
    """The number of most similar items that each item keeps."""
    nearest_to: Literal["met", "recommended"] = "recommended"
    """met: the nearest of each item met are kept; recommended: the nearest of each item that can be
    recommended, so that every item, however common, rests on as many."""
    shrinkage: Annotated[float, Field(ge=0)] | Auto = "auto"
    """A similarity resting on n users is multiplied by n / (n + shrinkage). auto: less for items
    that many users met, see `shrinkage`."""
    bm25_k1: float = Field(1.2, gt=0)
    """bm25 only: how far an item's length matters at all."""
    bm25_b: float = Field(0.4, ge=0, le=1)
    """bm25 only: 0 all items divided alike, 1 by their length in full."""
    popularity_blend: float = Field(2.0, ge=0)
    """A history of n distinct items gets popularity_blend / (1 + n) × popularity added, both it and
    the personal scores being measured by their root mean square over the catalogue."""


_ROWS, _LEAST, _MOST = 50.0, 1.0, 5.0


def shrinkage(shape: DataShape, config: ItemKnnConfig) -> float:
    """What keeps pairs that met by chance from being the nearest, and no more.

    Where an item has few users, one or two in common look like a perfect match, and the pairs are
    so many that some do by chance: five imagined users outweigh them. Where it has many, its
    nearest rest on dozens, and n / (n + shrinkage) does nothing but favour popular neighbours. So
    it falls as the mean number of users of an item grows, from five at ten users to one at fifty.
    The product of the two, 50, is fitted: of 25 to 200 it has the best mean over ten sets,
    whichever of eleven is left out.
    """
    users = shape.n_interactions / shape.n_items
    return float(f"{min(max(_ROWS / users, _LEAST), _MOST):.3g}")


class ItemKnn(BlendedRecommender):
    """Neighbourhood model on items (Deshpande & Karypis 2004), with weighted and unobserved
    entries.

    The score of j is Σ_{i in history} s_ij over the pairs kept, with s_ij = p_ij / (d_i d_j) × p_ij
    / (p_ij + shrinkage) and p_ij = Σ_u w_u g_u² over the users who met both, i as an observed
    entry: the (effective) number of common users.

    | similarity | g_u | d_i |
    |---|---|---|
    | cosine | 1 | (Σ_u w_u g_u²)^½ over the users of i |
    | tfidf | ln(1 + items / items of u), scaled to mean square 1 | as cosine |
    | bm25 | as tfidf | 1 + k1 (1 - b + b × weight of i / mean weight), over 1 + k1 (Robertson &
    Zaragoza 2009) |

    Entry (u, i) has w = weight: a user of weight 2 counts as two users. Memory grows with items ×
    neighbours.
    """

    Config = ItemKnnConfig
    draws = False
    cost = "solving"
    rules: ClassVar = {"shrinkage": shrinkage}
    search_space: ClassVar = {
        "similarity": ["cosine", "tfidf", "bm25"],
        "neighbours": {"low": 10, "high": 400, "log": True},
        "shrinkage": {"low": 1.0, "high": 500.0, "log": True},
        "nearest_to": ["met", "recommended"],
    }
    regularisation: ClassVar = {"shrinkage": ["x0.1", "x10"]}

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose neighbours take more than the memory there is."""
        wanted = min(self.config.neighbours, shape.n_items)
        # every item keeps as many as are wanted, unless few ever meet
        pairs = min(shape.n_items * wanted, shape.user_length * shape.n_interactions)
        refuse_beyond(
            _PAIR_BYTES * pairs,
            f"item-KNN with {wanted:,} neighbours of each of {shape.n_items:,} items",
            "params.yaml, recommenders.item_knn.neighbours",
            "lower neighbours, raise prepare.min_item_interactions, or take ials",
        )

    def _fit(self, data: TrainingData) -> None:
        histories = data.histories
        wanted = histories.matrix().sqrt()
        seen = wanted if histories.observed.all() else histories.matrix(observed_only=True).sqrt()
        if self.config.similarity != "cosine":
            importance = _user_importance(wanted).astype(np.float32)
            for entries in (wanted,) if seen is wanted else (wanted, seen):
                entries.data *= np.repeat(importance, entries.getnnz(1))
        sides = (seen, wanted) if self.config.nearest_to == "met" else (wanted, seen)
        own, others = (self._divisor(entries) for entries in sides)
        kept = [self._nearest(*block, own, others) for block in _products(*sides)]
        rows, columns, values = (np.concatenate(part) for part in zip(*kept, strict=True))
        if self.config.nearest_to == "recommended":
            rows, columns = columns, rows
        shape = (histories.n_items, histories.n_items)
        pairs = sp.coo_matrix((values, (rows, columns)), shape=shape, dtype=np.float32)
        pairs.has_canonical_format = (
            True  # none comes twice; their order is made here, in linear time
        )
        self._similarity = pairs.tocsc().tocsr()

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
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        p: np.ndarray,
        own: np.ndarray,
        others: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(item, neighbour, similarity) of the nearest of each of `rows`; the rest as `_products`
        gives and `_divisor`."""
        values = p + np.maximum(np.float32(self.config.shrinkage), _TINY)
        np.divide(p, values, out=values)
        values *= p
        values /= own[rows][:, None]
        values /= others[columns]
        best, similarity = top_k(values, min(self.config.neighbours, values.shape[1]))
        neighbours = np.take_along_axis(np.broadcast_to(columns, p.shape), best, axis=1)
        items = np.broadcast_to(rows[:, None], best.shape)
        real = similarity > 0
        return items[real], neighbours[real], similarity[real]

    def _personal(self, histories: Histories) -> np.ndarray:
        seen = histories.matrix()
        seen.data[:] = 1
        return (seen @ self._similarity).toarray()

    def contributions(self, histories: Histories, targets: np.ndarray) -> np.ndarray:
        """Exactly: the similarity of the item and the target; popularity's part belongs to no
        item."""
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        taken = targets[user]
        given = np.broadcast_to(histories.items[:, None], taken.shape)
        return np.asarray(self._similarity[given.ravel(), taken.ravel()]).reshape(taken.shape)

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


def _products(
    left: sp.csr_matrix, right: sp.csr_matrix
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of items, int64 (B,), with their rows of leftᵀ right; items met equally often stand
    together.

    The rows come as columns, int (B, L) or (1, L), in order within a row, and values, float32 (B,
    L), 0 where there is nothing and for the item itself. L is the whole catalogue where most pairs
    of the block meet, else only as long as the fullest row.
    """
    items, others = sp.csr_matrix(left.T), sp.csr_matrix(right.T)
    order = np.argsort(items.getnnz(1), kind="stable")
    size = max(1, _CELLS // len(order))
    everything, large = np.arange(len(order), dtype=np.int32)[None], is_large(items, right)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        block = items[rows]
        if n_multiplications(block, right) > _FULL * len(rows) * len(order):
            values = dense_product(block, right, large=large)
            values[np.arange(len(rows)), rows] = 0
            yield rows, everything, values
        else:
            # turned round as it is, so that columns come in order: of equal similarities the
            # smaller item is kept
            columns, values = _packed(sp.csr_matrix((others @ block.T.tocsr()).T.tocsr()))
            values[columns == rows[:, None]] = 0
            yield rows, columns, values


def _packed(table: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Columns, int32, and values, float32, both (B, L) with L the most entries of a row; 0 where
    there are fewer."""
    lengths = np.diff(table.indptr)
    real = np.arange(max(1, lengths.max())) < lengths[:, None]
    columns, values = np.zeros(real.shape, np.int32), np.zeros(real.shape, np.float32)
    columns[real], values[real] = table.indices, table.data
    return columns, values
