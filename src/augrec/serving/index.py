"""An approximate nearest-neighbour index of a large catalogue.

For recommenders whose scores are dot products. An additional coordinate gives all item vectors the
same length, so that the largest product is the nearest vector (Bachrach et al. 2014). Items are
grouped into cells by k-means, and only the cells nearest to the user's vector are searched (an
inverted file, Jégou et al. 2011, in faiss). The number of cells searched is chosen when the index
is built, such that its recall against exact lists is high enough.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from augrec.core.seeds import derive
from augrec.data.histories import Histories
from augrec.recommenders.base import Recommender
from augrec.serving.config import IndexConfig

log = logging.getLogger(__name__)

_CELLS_PER_ROOT = 4
_POINTS_PER_CELL = 64
_CUTOFF = 10
_AT_ONCE = 2**24
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Index:
    """The index of one model.

    Attributes:
        recommender: of the model.
        report: kind, cells, probes, recall@10 against exact lists, and the number of users it was
            measured on.
    """

    recommender: Recommender
    report: dict[str, Any]
    _cells: Any
    _vectors: np.ndarray

    def nearest(self, histories: Histories, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Items with high scores, unordered.

        Args:
            histories: of B users.
            n: number of items per user.

        Returns:
            Positions int64 (B, n), -1 for missing ones, and scores float32 (B, n), -inf there.
        """
        users = self.recommender.user_factors(histories)
        return _search(self._cells, self._vectors, users, n, self.report["probes"])


def build(
    recommender: Recommender, histories: Histories, config: IndexConfig, seed: int = 0
) -> Index | None:
    """Build the index of a fitted recommender.

    Args:
        recommender: fitted.
        histories: of some users, for measuring the recall.
        config: minimum number of items and minimum recall.
        seed: of the k-means.

    Returns:
        None, and lists are exact, if the catalogue is small, scores are not dot products, there are
        no histories, or the recall is not reached.
    """
    if config.kind == "exact" or len(recommender.items) < config.min_items or not len(histories):
        return None
    vectors = recommender.item_factors()
    if vectors is None:
        log.info("%s has no item vectors to index: its lists are exact", recommender.name())
        return None
    cells = _build_cells(_equal_lengths(vectors), seed)
    users = recommender.user_factors(histories)
    threshold = _tenth_best(vectors, users)
    probes = 1
    while True:
        _, scores = _search(cells, vectors, users, _CUTOFF, probes)
        recall = float((scores >= threshold).mean())  # by score: ties are interchangeable
        if recall >= config.min_recall:
            break
        if probes >= cells.nlist // 2:
            log.warning("an index would reach a recall of %.3f at most: lists are exact", recall)
            return None
        probes *= 2
    report = {
        "kind": "approximate",
        "cells": cells.nlist,
        "probes": probes,
        f"recall@{_CUTOFF}": round(recall, 4),
        "measured_on": len(users),
    }
    log.info("indexed %d items: %s", len(vectors), report)
    return Index(recommender, report, cells, vectors)


def _equal_lengths(vectors: np.ndarray) -> np.ndarray:
    """The vectors with an additional coordinate that makes all as long as the longest, float32
    (n_items, d + 1)."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.column_stack([vectors, np.sqrt(squares.max() - squares)]).astype(np.float32)


def _build_cells(vectors: np.ndarray, seed: int) -> Any:
    import faiss

    n_cells = max(
        1, min(_CELLS_PER_ROOT * round(len(vectors) ** 0.5), len(vectors) // _POINTS_PER_CELL)
    )
    cells = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], n_cells)
    cells.cp.max_points_per_centroid, cells.cp.seed = (
        _POINTS_PER_CELL,
        derive(seed, "cells") % 2**31,
    )
    faiss.omp_set_num_threads(1)  # of this thread: requests in progress need the other cores
    cells.train(vectors)
    cells.add(vectors)
    return cells


def _search(
    cells: Any, vectors: np.ndarray, users: np.ndarray, n: int, probes: int
) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    faiss.omp_set_num_threads(1)
    # faiss generates its signatures at run time
    parameters = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
    queries = np.column_stack([users, np.zeros(len(users))]).astype(np.float32)
    _, positions = cells.search(queries, n, params=parameters)
    scores = np.einsum("bd,bnd->bn", users, vectors[positions])
    return positions, np.where(positions < 0, np.float32(-np.inf), scores)


def _tenth_best(vectors: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The tenth best score of each user, minus a tolerance for rounding, float32 (n, 1); computed
    in chunks of users."""
    step = max(1, _AT_ONCE // len(vectors))
    parts = [
        -np.partition(-(users[start : start + step] @ vectors.T), _CUTOFF - 1, axis=1)[
            :, _CUTOFF - 1
        ]
        for start in range(0, len(users), step)
    ]
    tenth = np.concatenate(parts)
    return (tenth - _ROUNDING * np.abs(tenth))[:, None]
