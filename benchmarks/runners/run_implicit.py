"""implicit 0.7: ALS (conjugate gradients or Cholesky), BPR, nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from _task import Fit, Model, Rank, Task, main
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender


def model(make: Callable[..., Any], seeded: bool) -> Model:
    def build(task: Task) -> Fit:
        ones = np.ones(len(task.user), np.float32)
        matrix = sp.csr_matrix(
            (ones, (task.user, task.item)), shape=(len(task.users), len(task.items))
        )
        seed = {"random_state": task.seed} if seeded else {}

        def fit() -> Rank:
            fitted = make(**task.settings, num_threads=task.threads, **seed)
            fitted.fit(matrix, show_progress=False)
            return lambda: rank(fitted, matrix[task.cases], task)

        return fit

    return build


def rank(fitted: Any, seen: sp.csr_matrix, task: Task) -> np.ndarray:
    """Where it has fewer candidates than places it fills up with what was seen or with item 0:
    those places are empty."""
    items, scores = fitted.recommend(task.cases, seen, N=task.k, filter_already_liked_items=True)
    again = np.asarray(seen[np.arange(len(items))[:, None], items].todense()) > 0
    return np.where(again | (scores == 0) | (scores < -1e30), -1, items)


def neighbours(similarity: str, **settings: Any) -> Any:
    return {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}[
        similarity
    ](**settings)


if __name__ == "__main__":
    main(
        {
            "ials": model(AlternatingLeastSquares, seeded=True),
            "bpr": model(BayesianPersonalizedRanking, seeded=True),
            "item_knn": model(neighbours, seeded=False),
        }
    )
