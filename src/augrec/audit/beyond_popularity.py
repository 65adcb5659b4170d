"""How far a sample is beyond users drawn by popularity, who have no taste."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import stats

from augrec.audit.nearest import some_rows
from augrec.core.seeds import rng
from augrec.data.item_pairs import ItemPairs, shortened

_REPLICATES = 12
_LEAST_DISTANCE = 1e-3
_ENDS = (-1.0, 2.0)


def beyond_popularity(
    real: sp.csr_matrix,
    synthetic: sp.csr_matrix,
    *,
    top_items: int,
    max_users: int,
    confidence: float,
    seed: int,
) -> dict[str, float]:
    """Which items go together in the sample, between an independent draw and real users.

    With r(users) the Pearson correlation of `augrec.data.item_pairs` between these users and all
    real ones, beyond_popularity is (r(sample) - r(independent)) / (r(resampled) - r(independent)).
    0: items by popularity alone, as in the placebo popularity_random. 1: real users drawn with
    replacement, as in bootstrap. All three are of equally many users of equal lengths, so that a
    sample of short profiles is not held against long ones. The interval is normal, with the
    variance of the sample by a bootstrap over its users and that of the independent draw over
    draws; it is wide where the data are too few to tell the two ends apart.

    Args:
        real, synthetic: 0/1 (n_users, n_items) of the same items.
        top_items: pairs are compared among this number of the most popular items.
        max_users: at most this number of users is compared.
        confidence: of the interval.
        seed: of the subsample and the draws.
    """
    random, pairs = rng(seed, "draws"), ItemPairs.of(real, top_items)
    chosen = synthetic[some_rows(synthetic.shape[0], max_users, rng(seed, "users"))]
    n, lengths = chosen.shape[0], np.diff(chosen.indptr)

    def likeness(profiles: sp.csr_matrix) -> float:
        return pairs.likeness(profiles) or 0.0

    resampled, independent, bootstrapped = (
        np.array([likeness(draw()) for _ in range(_REPLICATES)])
        for draw in (
            lambda: shortened(pairs.resampled(n, random), lengths, random),
            lambda: pairs.independent(lengths, random),
            lambda: chosen[random.integers(0, n, n)],
        )
    )
    distance = max(float(resampled.mean() - independent.mean()), _LEAST_DISTANCE)
    value = (likeness(chosen) - independent.mean()) / distance
    spread = np.sqrt(bootstrapped.var(ddof=1) + independent.var(ddof=1) * (1 + 1 / _REPLICATES))
    half = stats.norm.ppf((1 + confidence) / 2) * max(spread, _LEAST_DISTANCE) / distance
    low, middle, high = np.clip([value - half, value, value + half], *_ENDS)
    return {
        "beyond_popularity": float(middle),
        "beyond_popularity_low": float(low),
        "beyond_popularity_high": float(high),
    }
