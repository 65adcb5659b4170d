"""A space in which users are points by their profiles, and clusters of users in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from augrec.audit.nearest import some_rows
from augrec.core.seeds import rng

_OVERSAMPLED = 8
_POWER_ITERATIONS = 4
_RESTARTS = 3
_SWEEPS = 50


@dataclass(frozen=True)
class Space:
    """Equally many real and synthetic users as points.

    The space is that of both together, so that neither side is privileged: the leading principal
    components of profiles scaled to length 1. Precision, recall, k-means and the classifier use
    distances in it.

    Attributes:
        real, synthetic: float64 (n, d), widest dimension first.
        real_rows, synthetic_rows: int64 (n,), their rows in the profiles.
    """

    real: np.ndarray
    synthetic: np.ndarray
    real_rows: np.ndarray
    synthetic_rows: np.ndarray

    @classmethod
    def of(
        cls,
        real: sp.csr_matrix,
        synthetic: sp.csr_matrix,
        *,
        dimensions: int,
        max_users: int,
        seed: int,
    ) -> Space:
        """Place at most `max_users` of each side; profiles are 0/1 (n_users, n_items) of the same
        items."""
        random = rng(seed, "placed")
        n = min(real.shape[0], synthetic.shape[0], max_users)
        rows = some_rows(real.shape[0], n, random), some_rows(synthetic.shape[0], n, random)
        points = principal_components(
            sp.vstack([real[rows[0]], synthetic[rows[1]]]).tocsr(), dimensions, random
        )
        return cls(points[:n], points[n:], *rows)


def principal_components(
    profiles: sp.csr_matrix, dimensions: int, random: np.random.Generator
) -> np.ndarray:
    """Leading principal components of the rows, each scaled to length 1, by randomised SVD (Halko
    et al. 2011, alg. 4.4).

    Nothing dense is larger than (n + items touched) × (dimensions + 8); time is linear in the
    non-zeros.

    Args:
        profiles: 0/1 (n, n_items), no row empty.
        dimensions: the most dimensions.
        random: source of the draw.

    Returns:
        Coordinates float64 (n, d); the sign of each dimension is such that its largest coordinate
        is positive.
    """
    touched = np.flatnonzero(np.diff(profiles.tocsc().indptr))
    table = profiles[:, touched].astype(np.float64)
    table = sp.csr_matrix(sp.diags_array(1 / np.sqrt(np.diff(table.indptr))) @ table)
    mean = np.asarray(table.mean(axis=0)).ravel()
    n, m = table.shape
    width = min(dimensions + _OVERSAMPLED, n, m)
    basis = _around(table, mean, random.standard_normal((m, width)))
    for _ in range(_POWER_ITERATIONS):
        basis, _ = np.linalg.qr(basis)
        basis = _around(table, mean, table.T @ basis - np.outer(mean, basis.sum(axis=0)))
    basis, _ = np.linalg.qr(basis)
    small = (table.T @ basis - np.outer(mean, basis.sum(axis=0))).T  # (width, m)
    turned, scale, _ = np.linalg.svd(small, full_matrices=False)
    points = (basis @ turned * scale)[:, :dimensions]
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return points * np.where(largest < 0, -1.0, 1.0)


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, m) between the rows of float (n, d) and (m, d)."""
    table = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.maximum(table, 0.0)


def k_means(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The cluster of each point, int64 (n,): Lloyd's algorithm from k-means++ (Arthur &
    Vassilvitskii 2007), best of 3."""
    found = [
        _lloyd(points, _spread(points, k, rng(seed, "k-means", attempt)))
        for attempt in range(_RESTARTS)
    ]
    return min(found, key=lambda pair: pair[0])[1]


def effective_number(labels: np.ndarray) -> float:
    """Effective number of labels: exp of the entropy of their shares."""
    counts = np.bincount(labels)
    shares = counts[counts > 0] / max(len(labels), 1)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _around(table: sp.csr_matrix, mean: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(table - mean) @ right, without a dense table."""
    return table @ right - mean @ right


def _spread(points: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    centres = points[[random.integers(len(points))]]
    away = squared_distances(points, centres)[:, 0]
    for _ in range(k - 1):
        total = away.sum()
        chosen = random.choice(len(points), p=away / total if total > 0 else None)
        centres = np.vstack([centres, points[chosen]])
        away = np.minimum(away, squared_distances(points, points[[chosen]])[:, 0])
    return centres


def _lloyd(points: np.ndarray, centres: np.ndarray) -> tuple[float, np.ndarray]:
    """Sum of squared distances and the label of each point."""
    labels = np.full(len(points), -1)
    for _ in range(_SWEEPS):
        away = squared_distances(points, centres)
        before, labels = labels, away.argmin(axis=1)
        if (labels == before).all():
            break
        counts = np.bincount(labels, minlength=len(centres))
        for at in np.flatnonzero(counts):
            centres[at] = points[labels == at].mean(axis=0)
    return float(squared_distances(points, centres).min(axis=1).sum()), labels
