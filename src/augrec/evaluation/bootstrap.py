"""Paired bootstrap over users: how sure a difference between two models is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special  # scipy.stats takes half a second to import

from augrec.core.errors import InputError
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.evaluation.user_means import OVERALL, user_values

_CELLS = 2**22
"""At most this many draws are held in memory."""


@dataclass(frozen=True)
class Difference:
    """Candidate minus comparator on the same users. The numbers are None where there are no
    users."""

    n_users: int
    candidate_mean: float | None
    comparator_mean: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Noise:
    """What chance in training adds to a mean over users.

    Attributes:
        sd: its standard deviation.
        degrees: its degrees of freedom.
        apart: the part of that variance from the effect of training on each user separately. The
            variance between users contains it too: it is subtracted there, so that it counts once.
    """

    sd: float = 0.0
    degrees: int = 1
    apart: float = 0.0

    def kept(self, values: np.ndarray) -> float:
        """The factor of the resampled means' distance from the mean that subtracts `apart`, 0 …
        1."""
        variance = float(values.var(ddof=1)) / len(values)
        return float(np.sqrt(max(0.0, 1 - self.apart / variance))) if variance > 0 else 1.0


def interval(
    values: np.ndarray, *, confidence: float, samples: int, seed: int, noise: Noise | None = None
) -> tuple[float, float]:
    """Confidence interval of the mean of `values` by resampling them.

    The expanded percentile interval: quantiles Φ(∓ t √(n / (n - 1))) of the resampled means, t
    being Student's quantile with n - 1 degrees of freedom. That undoes the percentile interval's
    narrowness on few users and vanishes on many (Hesterberg 2015, The American Statistician 69,
    371-386). Time is linear in n × samples, memory is bounded.

    Resampling users covers the variation between users with these very models. With `noise` a draw
    of Student's t is added to each resampled mean, so that the interval also covers models trained
    again.

    Args:
        values: one number for each independent unit (user), float64 (n,).
        confidence: for example 0.95, two-sided.
        samples: the number of resamples.
        seed: of the draws.
        noise: what chance in training adds to the mean; None: nothing.

    Returns:
        Low and high; (-inf, inf) for fewer than two values, which have no spread.
    """
    n = len(values)
    if n < 2:
        return -np.inf, np.inf
    means = resampled_means(values, samples, seed)
    if noise is not None and noise.sd > 0:
        centre = values.mean()
        means = centre + noise.kept(values) * (means - centre)
        means += noise.sd * rng(seed, "training").standard_t(noise.degrees, samples)
    widened = special.stdtrit(n - 1, (1 - confidence) / 2) * np.sqrt(n / (n - 1))
    tail = special.ndtr(widened)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def resampled_means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of `samples` resamples of the rows of `values`, float64 (n,) or (n, m): (samples,) or
    (samples, m)."""
    n = len(values)
    generator = rng(seed, "bootstrap")
    means = np.empty((samples, *values.shape[1:]))
    size = max(1, _CELLS // values.size)
    for start in range(0, samples, size):
        stop = min(start + size, samples)
        drawn = generator.integers(0, n, (stop - start, n), dtype=np.int32)
        means[start:stop] = values[drawn].mean(axis=1)
    return means


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
    """Compare two models on the same cases, paired by user; a user's cases are averaged first, so a
    user counts once.

    Args:
        candidate, comparator: rows of `augrec.evaluation.metrics.evaluate` for the same cases, in
            any order.
        metric: the column to compare.
        slice_name: one slice, or "overall".
        confidence, samples, seed: see `interval`. The draws depend on nothing but the seed and the
            number of users.

    Raises:
        InputError: the two were not measured on the same users.
    """
    ours, theirs = (user_values(side, metric, slice_name) for side in (candidate, comparator))
    if not ours[C.USER].equals(theirs[C.USER]):
        raise InputError(
            "the two models were not measured on the same users",
            where=f"slice {slice_name}",
            fix="evaluate both on the same cases",
        )
    sides = ours["value"].to_numpy(), theirs["value"].to_numpy()
    return difference(*sides, confidence=confidence, samples=samples, seed=seed)


def difference(
    candidate: np.ndarray,
    comparator: np.ndarray,
    *,
    confidence: float,
    samples: int,
    seed: int,
    noise: Noise | None = None,
) -> Difference:
    """As `paired_difference`, of the values of the same users in the same order, float64 (n,)
    each."""
    if not len(candidate):
        return Difference(0, None, None, None, None, None)
    gains = candidate - comparator
    low, high = interval(gains, confidence=confidence, samples=samples, seed=seed, noise=noise)
    finite = np.isfinite(low)
    return Difference(
        n_users=len(gains),
        candidate_mean=float(candidate.mean()),
        comparator_mean=float(comparator.mean()),
        difference=float(gains.mean()),
        ci_low=low if finite else None,
        ci_high=high if finite else None,
    )
