"""The gain that the data could have shown."""

from __future__ import annotations

import numpy as np

from augrec.core.seeds import rng
from augrec.evaluation.bootstrap import resampled_means


def detectable(
    gains: np.ndarray,
    reach: np.ndarray,
    *,
    own_sd: float,
    other_sds: np.ndarray,
    kept: np.ndarray,
    power: float,
    samples: int,
    seed: int,
) -> float:
    """The smallest gain over every comparator that passes with a chance of `power`.

    A difference passes where it lies further above 0 than its interval reaches down. With a true
    gain g over each of the m comparators, the measured ones are g + e, the e being the chance of
    users and trainings; all m pass if g > max_j (reach_j - e_j). The `power` quantile of that
    maximum, e resampled from the users' own differences, is the answer: minimal detectable effect
    of an intersection-union test, with the correlation the comparators have. It is a property of
    the test and does not depend on the measured differences, only on their spread, as measured:
    with few repetitions of training the answer is rough.

    Args:
        gains: candidate minus each comparator, float64 (n users, m).
        reach: distance of each interval's lower end from its difference, float64 (m,).
        own_sd: what training adds to the candidate's mean.
        other_sds: what it adds to each comparator's, float64 (m,).
        kept: `Noise.kept` of each comparison, float64 (m,).
        power: for example 0.8.
        samples, seed: of the resamples.

    Returns:
        In units of the metric; 0 where nothing varies.
    """
    chance = kept * resampled_means(gains - gains.mean(axis=0), samples, seed)
    draws = rng(seed, "power").standard_normal((samples, 1 + len(reach)))
    chance += own_sd * draws[:, :1] - other_sds * draws[:, 1:]
    return max(0.0, float(np.quantile((reach - chance).max(axis=1), power)))
