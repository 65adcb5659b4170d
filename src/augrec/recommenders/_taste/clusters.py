"""k-means over users' vectors: the taste groups, and their names from run to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from augrec.core.errors import InputError
from augrec.core.seeds import rng

_SWEEPS, _BATCH, _MOST_WHOLE = 50, 4096, 20_000
_RESTARTS = 3
_ROWS = 2**16


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of points.

    Attributes:
        centres: float32 (k, d), no two alike.
        labels: the nearest centre of each point, int64 (n,).
    """

    centres: np.ndarray
    labels: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Points of each group, int64 (k,)."""
        return np.bincount(self.labels, minlength=len(self.centres))


def k_means(
    points: np.ndarray, k: int, seed: int, *, start: np.ndarray | None = None, smallest: int = 1
) -> Clusters:
    """At most k groups: Lloyd's algorithm from k-means++ (Arthur & Vassilvitskii 2007), the best of
    3; of more than 20 000 points by mini-batches (Sculley 2010). Linear in the number of points.

    A group that loses its points takes the point farthest from its own centre; groups of fewer than
    `smallest` points are dissolved into the nearest others, the smallest first.

    Args:
        points: float (n, d), finite.
        k: at least 1; no more groups than different points are made.
        seed: of the draws.
        start: centres to begin at, float (k', d), in place of drawn ones.
        smallest: the fewest points of a group; the last group is kept whatever its size.

    Raises:
        InputError: there are no points, a number is not finite, or k is less than 1.
    """
    if not len(points) or k < 1 or not np.isfinite(points).all():
        raise InputError(
            f"{len(points)} users cannot be put into {k} groups",
            where="taste groups, k-means",
            fix="give at least one user, finite vectors and at least one group",
        )
    points = np.ascontiguousarray(points, np.float32)
    tries = 1 if start is not None or len(points) > _MOST_WHOLE else _RESTARTS
    found = [_attempt(points, k, rng(seed, "k-means", number), start) for number in range(tries)]
    centres = min(found, key=lambda one: one[0])[1]
    return _without_tiny(points, centres, smallest)


def nearest(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each point, int64 (n,), and the distance to it, float32 (n,)."""
    labels, away = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), _ROWS):
        rows = slice(start, start + _ROWS)
        squares = _squares(points[rows], centres)
        labels[rows], away[rows] = squares.argmin(1), np.sqrt(squares.min(1))
    return labels, away


def same_names(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Which old group each new one is, int64 (k,), so that as much as can be stays as it was: the
    one-to-one assignment of largest cosines (Kuhn 1955).

    New groups without an old one get the lowest free numbers.

    Args:
        new, old: what describes the groups, in one space: centres, or shares of the same items;
            float (k, d) and (m, d).
    """
    unit = [
        table / np.maximum(np.linalg.norm(table, axis=1)[:, None], 1e-12) for table in (new, old)
    ]
    rows, columns = linear_sum_assignment(-(unit[0] @ unit[1].T))
    names = np.full(len(new), -1, np.int64)
    names[rows] = columns
    free = iter(sorted(set(range(len(new) + len(old))) - set(columns.tolist())))
    for place in np.flatnonzero(names < 0):
        names[place] = next(free)
    return names


NO_GROUP: Final = -1
"""The label of a user of whom nothing is known."""


def _attempt(
    points: np.ndarray, k: int, random: np.random.Generator, start: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """The mean squared distance, and the centres."""
    few = points
    if len(points) > _MOST_WHOLE:
        few = points[np.sort(random.choice(len(points), _MOST_WHOLE, replace=False))]
    centres = _spread(few, k, random) if start is None else start.astype(np.float32)
    centres = _lloyd(few, centres)
    if len(points) > len(few):
        centres = _mini_batches(points, centres, random)
    return float((nearest(few, centres)[1] ** 2).mean()), centres


def _spread(points: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """k-means++; fewer than k where there are fewer different points."""
    centres = points[[random.integers(len(points))]]
    away = _squares(points, centres)[:, 0].astype(np.float64)
    while len(centres) < k and away.max() > 1e-12:
        chosen = random.choice(len(points), p=away / away.sum())
        centres = np.vstack([centres, points[chosen]])
        away = np.minimum(away, _squares(points, points[[chosen]])[:, 0])
    return centres


def _lloyd(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    labels = np.full(len(points), NO_GROUP)
    for _ in range(_SWEEPS):
        before = labels
        labels, away = nearest(points, centres)
        if (labels == before).all():
            break
        counts = np.bincount(labels, minlength=len(centres))
        sums = np.zeros((len(centres), points.shape[1]))
        np.add.at(sums, labels, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        centres = centres.astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        farthest = np.argsort(-away, kind="stable")[: len(empty)]
        centres[empty[: len(farthest)]] = points[farthest]
    return centres


def _mini_batches(
    points: np.ndarray, centres: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """One pass over all points, each moving its centre by 1 / (points it has had)."""
    counts, centres = np.full(len(centres), 1.0), centres.astype(np.float64)
    for batch in np.array_split(random.permutation(len(points)), -(-len(points) // _BATCH)):
        labels, _ = nearest(points[batch], centres.astype(np.float32))
        new = np.bincount(labels, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, points[batch])
        counts += new
        centres += (sums - new[:, None] * centres) / counts[:, None]
    return centres.astype(np.float32)


def _without_tiny(points: np.ndarray, centres: np.ndarray, smallest: int) -> Clusters:
    while True:
        labels, _ = nearest(points, centres)
        sizes = np.bincount(labels, minlength=len(centres))
        if len(centres) == 1 or sizes.min() >= smallest:
            return Clusters(centres, labels)
        centres = np.delete(centres, sizes.argmin(), axis=0)


def _squares(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances, float32 (n, k)."""
    table = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T
    return np.maximum(table, 0)
