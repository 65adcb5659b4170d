"""An approximate index of a large catalogue: the items that come near the best, without scoring
all.

For recommenders whose scores are products of two vectors. A further coordinate makes all items'
vectors equally long, so that the largest product is the nearest vector (Bachrach et al. 2014);
items are put into cells by k-means, and only the cells nearest to the user's vector are looked into
(an inverted file, Jégou et al. 2011, by faiss). How much of the exact lists is found is measured
when it is built, and so many cells are looked into that enough is.
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
    """The items of one model, by nearness.

    Attributes:
        recommender: whose.
        report: for people: kind, cells, probes, recall@10 against exact lists, and how many users
            it was measured on.
    """

    recommender: Recommender
    report: dict[str, Any]
    _cells: Any
    _vectors: np.ndarray

    def nearest(self, histories: Histories, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Items that score high, in no order.

        Args:
            histories: of B users.
            n: how many items for each.

        Returns:
            Positions int64 (B, n), -1 where no more were found, and scores float32 (B, n), -inf
            there.
        """
        users = self.recommender.user_factors(histories)
        return _search(self._cells, self._vectors, users, n, self.report["probes"])


def build(
    recommender: Recommender, histories: Histories, config: IndexConfig, seed: int = 0
) -> Index | None:
    """The index of a fitted recommender.

    Args:
        recommender: scores.
        histories: of some users, by whom the recall is measured.
        config: from how many items on, and how exact.
        seed: of the k-means.

    Returns:
        None where the catalogue is small, scores are no products, nobody is there to measure by, or
        the recall wanted is not reached: then lists are exact.
    """
    if config.kind == "exact" or len(recommender.items) < config.min_items or not len(histories):
        return None
    vectors = recommender.item_factors()
    if vectors is None:
        log.info("%s has no item vectors to index: its lists are exact", recommender.name())
        return None
    cells = _filled(_lengthened(vectors), seed)
    users = recommender.user_factors(histories)
    least = _tenth_best(vectors, users)
    probes = 1
    while True:
        _, scores = _search(cells, vectors, users, _CUTOFF, probes)
        recall = float(
            (scores >= least).mean()
        )  # by score: of equals it does not matter which are found
        if recall >= config.min_recall:
            break
        if probes >= cells.nlist // 2:
            log.warning(
                "an index would find %.3f of the best items at most: lists are exact", recall
            )
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


def _lengthened(vectors: np.ndarray) -> np.ndarray:
    """The vectors with a further coordinate that makes them all as long as the longest, float32
    (n_items, d + 1)."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.column_stack([vectors, np.sqrt(squares.max() - squares)]).astype(np.float32)


def _filled(vectors: np.ndarray, seed: int) -> Any:
    import faiss

    n_cells = max(
        1, min(_CELLS_PER_ROOT * round(len(vectors) ** 0.5), len(vectors) // _POINTS_PER_CELL)
    )
    cells = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], n_cells)
    cells.cp.max_points_per_centroid, cells.cp.seed = (
        _POINTS_PER_CELL,
        derive(seed, "cells") % 2**31,
    )
    faiss.omp_set_num_threads(
        1
    )  # of this thread: those who are being served meanwhile need the other cores
    cells.train(vectors)
    cells.add(vectors)
    return cells


def _search(
    cells: Any, vectors: np.ndarray, users: np.ndarray, n: int, probes: int
) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    faiss.omp_set_num_threads(1)
    wanted = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]  # faiss makes its signatures at run time
    asked = np.column_stack([users, np.zeros(len(users))]).astype(np.float32)
    _, positions = cells.search(asked, n, params=wanted)
    scores = np.einsum("bd,bnd->bn", users, vectors[positions])
    return positions, np.where(positions < 0, np.float32(-np.inf), scores)


def _tenth_best(vectors: np.ndarray, users: np.ndarray) -> np.ndarray:
    """What an item of the ten best scores at least, but for rounding: float32 (n, 1), a few users
    at a time."""
    step = max(1, _AT_ONCE // len(vectors))
    parts = [
        -np.partition(-(users[start : start + step] @ vectors.T), _CUTOFF - 1, axis=1)[
            :, _CUTOFF - 1
        ]
        for start in range(0, len(users), step)
    ]
    least = np.concatenate(parts)
    return (least - _ROUNDING * np.abs(least))[:, None]
