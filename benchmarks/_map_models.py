"""EASE and item-KNN for the map, on a dense matrix of pair counts, for many regularisations at
once.

They are the recommenders of `augrec.recommenders.ease` and `item_knn` (cosine, 50 neighbours)
without popularity: tests/unit/test_benchmark_map.py compares their scores. A map needs tens of
thousands of fits, and from one eigendecomposition come the scores at every `l2`. Popularity is
added in the scores' own units, its weight chosen for each arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.linalg import eigh

from augrec.data.histories import ItemIndex

K = 20
NEIGHBOURS = 50
L2 = (10.0, 30.0, 100.0, 300.0, 1000.0)
SHRINKAGE = (0.0, 5.0, 20.0, 100.0)
POPULARITY_BLEND = (0.1, 1.0, 10.0)
KNN_SHARE = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of item-KNN's scores in the blend of both."""


@dataclass(frozen=True)
class Training:
    """What both recommenders learn from.

    Attributes:
        gram: weighted number of common users, float64 (n_items, n_items).
        popularity: weighted number of users, the largest is 1, float64 (n_items,).
    """

    gram: np.ndarray
    popularity: np.ndarray

    @classmethod
    def of(cls, rows: sp.csr_matrix, weights: np.ndarray) -> Training:
        """Of 0/1 profiles (n_users, n_items), each user with a weight (n_users,)."""
        weighted = rows.multiply(np.sqrt(weights)[:, None]).tocsr()
        gram = np.asarray((weighted.T @ weighted).toarray(), dtype=np.float64)
        count = gram.diagonal()
        return cls(gram, count / max(count.max(), 1e-12))

    def shrunk(self, share: float, n_users: int) -> Training:
        """Pairs moved by `share` towards what independent items of the same popularity would
        have."""
        count = self.gram.diagonal()
        independent = np.outer(count, count) / n_users
        np.fill_diagonal(independent, count)
        return Training((1 - share) * self.gram + share * independent, self.popularity)


@dataclass(frozen=True)
class Cases:
    """Histories and targets within a catalogue.

    Attributes:
        history: 0/1, (n, n_items).
        known: their number of different items, also those outside the catalogue, (n,).
        targets: bool (n, n_items).
        n_targets: also those outside the catalogue, (n,).
    """

    history: sp.csr_matrix
    known: np.ndarray
    targets: np.ndarray
    n_targets: np.ndarray

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """NDCG@20 of each case, float64 (n,); items of the history are not recommended."""
        scores = scores.copy()
        scores[self.history.nonzero()] = -np.inf
        k = min(K, scores.shape[1])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        hit = np.take_along_axis(self.targets, np.take_along_axis(best, order, 1), 1)
        discount = 1 / np.log2(np.arange(2, K + 2))
        ideal = np.cumsum(discount)[np.minimum(self.n_targets, K) - 1]
        return np.asarray((hit * discount[:k]).sum(1) / ideal)

    def blended(self, scores: np.ndarray, popularity: np.ndarray, blend: float) -> np.ndarray:
        """Scores with blend / (1 + n) × popularity added for a history of n items."""
        return np.asarray(scores + (blend / (1 + self.known))[:, None] * popularity)


def case_matrices(cases: pl.DataFrame, items: ItemIndex) -> Cases:
    """Cases user_id, history, targets."""

    def profiles(column: str) -> sp.csr_matrix:
        place = items.encode(cases[column].explode())
        user = np.repeat(np.arange(len(cases)), cases[column].list.len().to_numpy())
        there = place >= 0
        shape = (len(cases), len(items))
        ones = np.ones(there.sum())
        return sp.csr_matrix((ones, (user[there], place[there])), shape=shape)

    return Cases(
        profiles("history"),
        cases["history"].list.len().to_numpy().astype(np.int64),
        profiles("targets").toarray() > 0,
        cases["targets"].list.len().to_numpy().astype(np.int64),
    )


def ease(training: Training, cases: list[Cases]) -> Iterator[list[np.ndarray]]:
    """The scores of each of `cases`, for every `l2`."""
    values, vectors = eigh(training.gram, check_finite=False, driver="evd")
    values = np.maximum(values, 0)
    turned = [np.asarray(one.history @ vectors) for one in cases]  # (n, n_items)
    squares = vectors**2
    for l2 in L2:
        inverse = 1 / (values + l2)
        diagonal = squares @ inverse  # of P, (n_items,)
        yield [
            one.history.toarray() - (part * inverse) @ vectors.T / diagonal
            for one, part in zip(cases, turned, strict=True)
        ]


def item_knn(training: Training, cases: list[Cases]) -> Iterator[list[np.ndarray]]:
    """The scores of each of `cases`, for every `shrinkage`."""
    together = training.gram.copy()
    length = np.sqrt(np.where(together.diagonal() > 0, together.diagonal(), 1))
    np.fill_diagonal(together, 0)
    for shrinkage in SHRINKAGE:
        alike = together / np.outer(length, length)
        alike *= together / (together + max(shrinkage, 1e-30))
        k = min(NEIGHBOURS, len(alike))
        least = -np.partition(-alike, k - 1, axis=1)[:, k - 1 : k]
        alike[alike < least] = 0
        yield [np.asarray(one.history @ alike) for one in cases]


RECOMMENDERS = {"ease": ease, "item_knn": item_knn}


@dataclass(frozen=True)
class Fitted:
    """A recommender at the regularisation that validation users prefer.

    Attributes:
        reached: its mean NDCG@20 for validation users.
        scores: of validation and test cases, popularity included.
    """

    reached: float
    scores: list[np.ndarray]


def best_fit(name: str, training: Training, cases: list[Cases]) -> Fitted:
    """`cases`: of validation, which chooses, and of test."""
    best: tuple[float, list[np.ndarray], float] = (-1.0, [], 0.0)
    for scores in RECOMMENDERS[name](training, cases):
        for blend in POPULARITY_BLEND:
            made = cases[0].blended(scores[0], training.popularity, blend)
            reached = float(cases[0].ndcg(made).mean())
            if reached > best[0]:
                best = reached, scores, blend
    reached, scores, blend = best
    both = zip(cases, scores, strict=True)
    return Fitted(reached, [one.blended(s, training.popularity, blend) for one, s in both])


def blend_of(ease_fit: Fitted, knn_fit: Fitted, cases: list[Cases]) -> Fitted:
    """Both, scaled to the same spread for each user, with the share that validation users
    prefer."""
    scaled = [[_scaled(scores) for scores in fit.scores] for fit in (ease_fit, knn_fit)]
    found = []
    for share in KNN_SHARE:
        scores = [(1 - share) * a + share * b for a, b in zip(*scaled, strict=True)]
        found.append(Fitted(float(cases[0].ndcg(scores[0]).mean()), scores))
    return max(found, key=lambda fit: fit.reached)


def _scaled(scores: np.ndarray) -> np.ndarray:
    centred = scores - scores.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(1, keepdims=True), 1e-12))
