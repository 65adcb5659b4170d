"""Are the synthetic people different from each other, and do they use the whole catalogue?"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from augrec.audit.nearest import fingerprints, nearest, some_rows


def diversity(
    real: sp.csr_matrix,
    synthetic: sp.csr_matrix,
    *,
    max_users: int,
    min_profile: int,
    random: np.random.Generator,
) -> dict[str, float | None]:
    """Measures on profiles, 0/1 (n_users, n_items) of the same items.

    item_coverage: share of the items of real users that the sample has. duplicate_share: of profiles with at least
    `min_profile` items, those that an earlier one equals. effective_neighbours: how many different real users the sample
    is near to, exp of the entropy of its nearest neighbours, against as many real users' nearest *other* user
    (effective_neighbours_real); far fewer means that the generator has collapsed to a few kinds of people.
    self_similarity: mean Jaccard similarity of a profile to its nearest other one in the sample, against the same among
    real users (self_similarity_real).
    """
    touched = np.asarray(real.sum(axis=0)).ravel() > 0
    drawn = np.asarray(synthetic.sum(axis=0)).ravel() > 0
    keys = fingerprints(synthetic[np.diff(synthetic.indptr) >= min_profile])
    n = min(max_users, real.shape[0], synthetic.shape[0])
    rows = some_rows(real.shape[0], n, random)
    picked = some_rows(synthetic.shape[0], n, random)
    real_likeness, real_nearest = nearest(real[rows], real, own=rows)
    likeness, _ = nearest(synthetic[picked], synthetic, own=picked)
    _, neighbours = nearest(synthetic[picked], real)
    return {
        "item_coverage": float(drawn[touched].mean()),
        "duplicate_share": 1.0 - len(np.unique(keys)) / len(keys) if len(keys) else None,
        "effective_neighbours": _effective_number(neighbours),
        "effective_neighbours_real": _effective_number(real_nearest),
        "self_similarity": float(likeness.mean()),
        "self_similarity_real": float(real_likeness.mean()),
    }


def _effective_number(positions: np.ndarray) -> float:
    counts = np.bincount(positions)
    shares = counts[counts > 0] / max(len(positions), 1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
