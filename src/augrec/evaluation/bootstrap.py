"""Paired bootstrap over users: how sure a difference between two models is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from augrec.data.columns import Columns as C
from augrec.errors import InputError
from augrec.evaluation.metrics import OVERALL, user_values
from augrec.seeds import rng

_CELLS = 2**22
"""At most so many draws are held at once."""


@dataclass(frozen=True)
class Difference:
    """Candidate minus comparator on the same users. The numbers are None where there are no users."""

    n_users: int
    candidate_mean: float | None
    comparator_mean: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None


def interval(values: np.ndarray, *, confidence: float, samples: int, seed: int) -> tuple[float, float]:
    """Confidence interval of the mean of `values` by resampling them.

    The expanded percentile interval: quantiles Φ(∓ t √(n / (n - 1))) of the resampled means, t being Student's quantile
    with n - 1 degrees of freedom. That undoes the percentile interval's narrowness on few users and vanishes on many
    (Hesterberg 2015, The American Statistician 69, 371-386). Time is linear in n × samples, memory is bounded.

    Args:
        values: one number for each independent unit (user), float64 (n,).
        confidence: for example 0.95, two-sided.
        samples: how many resamples.
        seed: of the draws.

    Returns:
        Low and high; (-inf, inf) for fewer than two values, which say nothing of their spread.
    """
    n = len(values)
    if n < 2:
        return -np.inf, np.inf
    generator = rng(seed, "bootstrap")
    means = np.empty(samples)
    size = max(1, _CELLS // n)
    for start in range(0, samples, size):
        stop = min(start + size, samples)
        means[start:stop] = values[generator.integers(0, n, (stop - start, n), dtype=np.int32)].mean(axis=1)
    tail = stats.norm.cdf(stats.t.ppf((1 - confidence) / 2, n - 1) * np.sqrt(n / (n - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(
    candidate: pl.DataFrame,
    comparator: pl.DataFrame,
    metric: str,
    *,
    slice_name: str = OVERALL,
    confidence: float,
    samples: int,
    seed: int,
) -> Difference:
    """Compare two models on the same cases, paired by user; a user's cases are averaged first, so a user counts once.

    Args:
        candidate, comparator: rows of `augrec.evaluation.metrics.evaluate` for the same cases, in any order.
        metric: the column to compare.
        slice_name: one slice, or "overall".
        confidence, samples, seed: see `interval`. The draws depend on nothing but the seed and the number of users.

    Raises:
        InputError: the two were not measured on the same users.
    """
    ours, theirs = (user_values(side, metric, slice_name) for side in (candidate, comparator))
    if not ours[C.USER].equals(theirs[C.USER]):
        raise InputError("the two models were not measured on the same users", where=f"slice {slice_name}",
                         fix="evaluate both on the same cases")  # fmt: skip
    if ours.is_empty():
        return Difference(0, None, None, None, None, None)
    a, b = ours["value"].to_numpy(), theirs["value"].to_numpy()
    low, high = interval(a - b, confidence=confidence, samples=samples, seed=seed)
    finite = np.isfinite(low)
    return Difference(
        n_users=len(a),
        candidate_mean=float(a.mean()),
        comparator_mean=float(b.mean()),
        difference=float((a - b).mean()),
        ci_low=low if finite else None,
        ci_high=high if finite else None,
    )
