"""Do the synthetic users differ from each other, and do they use the whole catalogue?"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from augrec.audit.nearest import fingerprints, nearest, some_rows
from augrec.audit.space import effective_number, squared_distances


def diversity(
    real: sp.csr_matrix,
    synthetic: sp.csr_matrix,
    *,
    max_users: int,
    min_profile: int,
    random: np.random.Generator,
) -> dict[str, float | None]:
    """Measures on profiles, 0/1 (n_users, n_items) of the same items.

    item_coverage: share of the items of real users that the sample has. duplicate_share: of
    profiles with at least `min_profile` items, those that equal an earlier one;
    duplicate_share_bias: the same of real users, which is subtracted before the limit is checked.
    effective_neighbours: the effective number of real users the sample is near to, exp of the
    entropy of its nearest neighbours, against as many real users' nearest *other* user
    (effective_neighbours_real); far fewer means that the generator has collapsed to a few kinds of
    users. self_similarity: mean Jaccard similarity of a profile to its nearest other one in the
    sample, against the same among real users (self_similarity_real).
    """
    touched = np.asarray(real.sum(axis=0)).ravel() > 0
    drawn = np.asarray(synthetic.sum(axis=0)).ravel() > 0
    duplicates = [
        1.0 - len(np.unique(keys)) / len(keys) if len(keys) else None
        for keys in (
            fingerprints(table[np.diff(table.indptr) >= min_profile]) for table in (real, synthetic)
        )
    ]
    n = min(max_users, real.shape[0], synthetic.shape[0])
    rows = some_rows(real.shape[0], n, random)
    picked = some_rows(synthetic.shape[0], n, random)
    real_likeness, real_nearest = nearest(real[rows], real, own=rows)
    likeness, _ = nearest(synthetic[picked], synthetic, own=picked)
    _, neighbours = nearest(synthetic[picked], real)
    return {
        "item_coverage": float(drawn[touched].mean()),
        "duplicate_share": duplicates[1],
        "duplicate_share_bias": duplicates[0],
        "effective_neighbours": effective_number(neighbours),
        "effective_neighbours_real": effective_number(real_nearest),
        "self_similarity": float(likeness.mean()),
        "self_similarity_real": float(real_likeness.mean()),
    }


def manifold(
    real: np.ndarray, synthetic: np.ndarray, k: int, random: np.random.Generator
) -> dict[str, float | None]:
    """Do synthetic users lie where real users lie, and real ones where synthetic ones do?

    A user's *ball* reaches to the k-th nearest neighbour on the same side.

    precision: share of synthetic users inside some real user's ball; recall: of real users inside
    some synthetic user's ball (Kynkäänniemi et al. 2019, arXiv 1904.06991). density: real balls
    around a synthetic user, over k, 1 expected if both are drawn alike, above 1 where the sample
    keeps to dense regions; coverage: share of real users with a synthetic user in their ball (Naeem
    et al. 2020, arXiv 2002.09797). coverage_expected: the coverage if both are drawn alike.
    precision_real, recall_real: those of one random half of real users against the other, half as
    many, which is what the best sample could reach. None with at most k users on a side.

    Args:
        real, synthetic: coordinates, float (n, d) and (m, d).
        k: see above.
        random: draws the halves.
    """
    halves = np.array_split(real[random.permutation(len(real))], 2)
    usual = _manifold(halves[0], halves[1], k)
    return {
        **_manifold(real, synthetic, k),
        **{f"{name}_real": usual[name] for name in ("precision", "recall")},
    }


def _manifold(real: np.ndarray, synthetic: np.ndarray, k: int) -> dict[str, float | None]:
    n, m = len(real), len(synthetic)
    names = ("precision", "recall", "density", "coverage", "coverage_expected")
    if min(n, m) <= k:
        return dict.fromkeys(names)
    reach = [_reach(points, k) for points in (real, synthetic)]
    between = squared_distances(real, synthetic)  # (n, m)
    inside = between <= reach[0][:, None]
    steps = np.arange(k)
    # a real user's ball is missed if none of m is among the k nearest of n - 1 + m
    missed = np.prod((n - 1 - steps) / (n - 1 + m - steps))
    values = (
        inside.any(axis=0).mean(),
        (between <= reach[1]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        inside.any(axis=1).mean(),
        1 - missed,
    )
    return dict(zip(names, map(float, values), strict=True))


def _reach(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance to the k-th nearest other point, float64 (n,)."""
    away = squared_distances(points, points)
    np.fill_diagonal(away, np.inf)
    return np.partition(away, k - 1, axis=1)[:, k - 1]
