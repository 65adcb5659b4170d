"""Which profiles equal, resemble or single out which."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from augrec.data.similarity import nearest, profiles, similarity_blocks

__all__ = ["distance_ratios", "fingerprints", "nearest", "profiles", "singled_out", "some_rows"]

_WINDOW = 51
"""The number of users of similar profile length over which the baseline is averaged."""


def distance_ratios(
    queries: sp.csr_matrix, references: sp.csr_matrix, *, own: np.ndarray | None = None
) -> np.ndarray:
    """How far the nearest reference stands out for each query: its distance over the second
    nearest's, float64 (n,).

    The nearest-neighbour distance ratio (Lowe 2004; as a privacy measure of synthetic data Zhao et
    al. 2021, arXiv 2102.08369), with distance 1 - Jaccard. 1: several users are as near as the
    nearest; near 0: one user is far nearer than any other, as with a copy, even one that was partly
    changed. Unlike the distance itself it hardly depends on how long profiles are. 1 with fewer
    than two references.

    Args:
        queries, references, own: see `augrec.data.similarity.nearest`.
    """
    n, m = queries.shape[0], references.shape[0]
    ratios = np.ones(n)
    if m < 2 + (own is not None):
        return ratios
    for rows, jaccard in similarity_blocks(queries, references, own=own):
        two = (
            1.0 - np.partition(jaccard, m - 2, axis=1)[:, m - 2 :]
        )  # (B, 2): second nearest, nearest
        ratios[rows] = np.where(two[:, 0] > 0, two[:, 1] / np.maximum(two[:, 0], 1e-12), 1.0)
    return ratios


def singled_out(
    ratios: tuple[np.ndarray, np.ndarray],
    baseline: tuple[np.ndarray, np.ndarray],
    quantile: float,
    *,
    samples: int,
    confidence: float,
    random: np.random.Generator,
) -> tuple[float, float, float] | None:
    """Share of profiles whose nearest reference stands out more than for all but `quantile` of the
    baseline users.

    It stands out by 1 - ratio, over the mean of that among baseline users of similar profile
    length; so if both come from the same distribution the share is about the quantile, at every
    length.

    Args:
        ratios: see `distance_ratios`, and the profile lengths; each (n,).
        baseline: the same of users for whom no reference should stand out; each (m,).
        quantile: for example 0.01.
        samples, confidence, random: of the bootstrap, over the profiles and over the baseline
            users.

    Returns:
        The share and its interval; None where one side is empty.
    """
    if not len(ratios[0]) or not len(baseline[0]):
        return None
    order = np.argsort(baseline[1], kind="stable")
    window = np.ones(min(_WINDOW, len(order)))
    scale = np.convolve((1 - baseline[0])[order], window, "same") / np.convolve(
        np.ones(len(order)), window, "same"
    )
    far, near = (
        np.sort((1 - part) / np.maximum(np.interp(size, baseline[1][order], scale), 1e-9))
        for part, size in (ratios, baseline)
    )
    again = near[random.integers(0, len(near), (samples, len(near)))]
    limits = np.append(np.quantile(again, 1 - quantile, axis=1), np.quantile(near, 1 - quantile))
    shares = 1 - np.searchsorted(far, limits, side="right") / len(far)
    drawn = random.binomial(len(far), shares[:-1]) / len(far)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(shares[-1]), float(low), float(high)


def fingerprints(matrix: sp.csr_matrix) -> np.ndarray:
    """A 16-byte key for each row, the same for equal profiles: object (n,)."""
    # two sums of random weights differ for different sets but for a chance of about 2**-128
    weights = np.random.default_rng(0).integers(0, 2**64, (matrix.shape[1], 2), dtype=np.uint64)
    keys = np.zeros((matrix.shape[0], 2), np.uint64)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    np.add.at(keys, rows, weights[matrix.indices])
    return keys.view([("first", np.uint64), ("second", np.uint64)]).ravel()


def some_rows(n: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Positions int64 of at most `most` of n rows, ascending."""
    return np.arange(n) if n <= most else np.sort(random.choice(n, most, replace=False))
