"""Items' content as a few numbers each: the main directions of their TF-IDF vectors."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core.errors import InputError
from augrec.core.seeds import rng
from augrec.data.histories import ItemIndex
from augrec.data.training_data import TrainingData
from augrec.recommenders.content import Content

_logger = logging.getLogger(__name__)
_OVERSAMPLING = 10
_POWER_ITERATIONS = 4


@dataclass(frozen=True)
class ItemContent:
    """Content of items that training users met, and of items of the items table that none met.

    Attributes:
        known: float32 (n_items, d), in the order of the catalogue; zeros for an item without text.
        new_ids: str (m,), sorted.
        new: float32 (m, d).
    """

    known: np.ndarray
    new_ids: np.ndarray
    new: np.ndarray

    @classmethod
    def of(
        cls,
        interactions: pl.DataFrame,
        items: pl.DataFrame | None,
        catalogue: ItemIndex,
        *,
        directions: int,
        max_new_items: int,
        seed: int,
    ) -> ItemContent:
        """Read the items table as the recommender `content` does, at most the last `max_new_items`
        new items.

        Args:
            interactions: the training rows, whose items are `catalogue`.
            items: see `augrec.data.columns.ITEMS`; None, or without a word in it: there is no
                content.
            catalogue: the items met.
            directions: d, or fewer where words or items are fewer.
            max_new_items: the most new items.
            seed: of the decomposition's start.
        """
        if items is None:
            return cls._nothing(len(catalogue))
        reader = Content({"max_new_items": max_new_items})
        try:
            reader.fit(TrainingData(interactions, items=items))
        except InputError as error:
            _logger.warning("there are no new items: %s", error)
            return cls._nothing(len(catalogue))
        vectors = main_directions(reader.word_vectors, directions, seed)
        met = catalogue.encode(pl.Series(reader.items.ids.tolist(), dtype=pl.String))
        known = np.zeros((len(catalogue), vectors.shape[1]), np.float32)
        known[met[met >= 0]] = vectors[met >= 0]
        return cls(known, reader.items.ids[met < 0], vectors[met < 0])

    @classmethod
    def _nothing(cls, n_items: int) -> ItemContent:
        return cls(
            np.zeros((n_items, 0), np.float32), np.empty(0, str), np.empty((0, 0), np.float32)
        )


def main_directions(matrix: sp.csr_matrix, directions: int, seed: int) -> np.ndarray:
    """Truncated singular value decomposition by random projection (Halko, Martinsson, Tropp 2011,
    arXiv 0909.4061).

    Args:
        matrix: (n, m); time is linear in its non-zeros and in n + m.
        directions: their number, at most.
        seed: of the projection.

    Returns:
        Left singular vectors times singular values, the widest direction scaled to variance 1:
        float32 (n, d), d at most `directions`, n and m.
    """
    d = min(directions, *matrix.shape)
    if d == 0:
        return np.zeros((matrix.shape[0], 0), np.float32)
    width = min(d + _OVERSAMPLING, *matrix.shape)
    basis = matrix @ rng(seed, "projection").standard_normal((matrix.shape[1], width)).astype(
        np.float32
    )
    for _ in range(_POWER_ITERATIONS):
        basis, _ = np.linalg.qr(basis)
        basis = matrix @ (matrix.T @ basis)
    basis, _ = np.linalg.qr(basis)
    left, sizes, _ = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    scaled = (basis @ left[:, :d]) * (sizes[:d] / max(sizes[0], 1e-12))
    return (scaled * np.sqrt(matrix.shape[0])).astype(np.float32)
