"""EASE and item-KNN for the map, on a dense matrix of pair counts, for many regularisations at
once.

They are the recommenders of `augrec.recommenders.ease` and `item_knn` (cosine, 50 neighbours)
without popularity: tests/unit/test_benchmark_map.py compares their scores. A map needs tens of
thousands of fits, and from one eigendecomposition come the scores at every `l2`. Popularity is
added in the scores' own units, its weight chosen for each arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
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
        gram: weighted number of common users, float32 (n_items, n_items).
        popularity: weighted number of users, the largest is 1, float32 (n_items,).
    """

    gram: np.ndarray
    popularity: np.ndarray

    @classmethod
    def of(cls, rows: sp.csr_matrix, weights: np.ndarray) -> Training:
        """Of 0/1 profiles (n_users, n_items), each user with a weight (n_users,)."""
        weighted = rows.multiply(np.sqrt(weights)[:, None]).tocsr()
        gram = np.asarray((weighted.T @ weighted).toarray(), dtype=np.float32)
        count = gram.diagonal()
        return cls(gram, count / max(float(count.max()), 1e-12))

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
        history: 0/1 float32, (n, n_items).
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
        best = torch.topk(torch.from_numpy(scores), k).indices.numpy()
        hit = np.take_along_axis(self.targets, best, 1)
        discount = 1 / np.log2(np.arange(2, K + 2))
        ideal = np.cumsum(discount)[np.minimum(self.n_targets, K) - 1]
        return np.asarray((hit * discount[:k]).sum(1) / ideal)

    def blended(self, scores: np.ndarray, popularity: np.ndarray, blend: float) -> np.ndarray:
        """Scores with blend / (1 + n) × popularity added for a history of n items."""
        share = (blend / (1 + self.known))[:, None].astype(np.float32)
        return np.asarray(scores + share * popularity)


def case_matrices(cases: pl.DataFrame, items: ItemIndex) -> Cases:
    """Cases user_id, history, targets."""

    def profiles(column: str) -> sp.csr_matrix:
        place = items.encode(cases[column].explode())
        user = np.repeat(np.arange(len(cases)), cases[column].list.len().to_numpy())
        there = place >= 0
        shape = (len(cases), len(items))
        ones = np.ones(there.sum(), dtype=np.float32)
        return sp.csr_matrix((ones, (user[there], place[there])), shape=shape)

    return Cases(
        profiles("history"),
        cases["history"].list.len().to_numpy().astype(np.int64),
        profiles("targets").toarray() > 0,
        cases["targets"].list.len().to_numpy().astype(np.int64),
    )


Scorer = Callable[[Cases], np.ndarray]
"""Scores of cases, float32 (n, n_items)."""


def ease(training: Training) -> Iterator[Scorer]:
    """One for every `l2`."""
    values, vectors = eigh(training.gram, check_finite=False, driver="evd")
    values = np.maximum(values, 0)
    squares = vectors**2

    def scorer(l2: float) -> Scorer:
        inverse = 1 / (values + l2)
        diagonal = squares @ inverse  # of P, (n_items,)
        return lambda cases: (
            cases.history.toarray()
            - (np.asarray(cases.history @ vectors) * inverse) @ vectors.T / diagonal
        )

    yield from map(scorer, L2)


def item_knn(training: Training) -> Iterator[Scorer]:
    """One for every `shrinkage`."""
    together = training.gram.copy()
    length = np.sqrt(np.where(together.diagonal() > 0, together.diagonal(), 1))
    np.fill_diagonal(together, 0)

    def scorer(shrinkage: float) -> Scorer:
        alike = together / np.outer(length, length)
        alike *= together / (together + max(shrinkage, 1e-30))
        k = min(NEIGHBOURS, len(alike))
        least = -np.partition(-alike, k - 1, axis=1)[:, k - 1 : k]
        alike[alike < least] = 0
        return lambda cases: np.asarray(cases.history @ alike)

    yield from map(scorer, SHRINKAGE)


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
    best: tuple[float, Scorer | None, float] = (-1.0, None, 0.0)
    for scorer in RECOMMENDERS[name](training):
        scores = scorer(cases[0])
        for blend in POPULARITY_BLEND:
            made = cases[0].blended(scores, training.popularity, blend)
            reached = float(cases[0].ndcg(made).mean())
            if reached > best[0]:
                best = reached, scorer, blend
    reached, chosen, blend = best
    assert chosen is not None
    return Fitted(reached, [one.blended(chosen(one), training.popularity, blend) for one in cases])


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
