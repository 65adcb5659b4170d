"""Choosing among models by users' values, without falling for luck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from augrec.core.seeds import derive, rng
from augrec.recommenders._router.members import Judged, Member

_FOLDS = 5


class Care(Protocol):
    """How carefully members are chosen; see the config of the router."""

    cutoff: int
    caution: float
    blend_weights: list[float]
    max_blended: int


def choose_weights(
    members: Sequence[Member], cases: Judged, care: Care, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """The simplest of the best members, and others blended in one by one while that honestly gains.

    Returns:
        The weight of each member, float64 (n_members,); what each scores alone, float64
        (n_members,); and the gain of blending on users that had no part in choosing it.
    """
    alone = np.eye(len(members))
    values = cases.measure(members, alone, care.cutoff)
    chosen = simplest_of_the_best(values, care.caution)
    weights, value, gained = alone[chosen], values[chosen], 0.0
    for size in range(2, care.max_blended + 1):
        blends = [
            (1 - w) * weights + w * other
            for other in alone[weights == 0]
            for w in care.blend_weights
        ]
        if not blends:
            break
        blended = cases.measure(members, np.array(blends), care.cutoff)
        gain = honest_gain(blended, value, derive(seed, size))
        if not beats(gain, care.caution):
            break
        gained += float(gain.mean())
        best = blended.mean(axis=1).argmax()
        weights, value = blends[best], blended[best]
    return weights, values.mean(axis=1), gained


def simplest_of_the_best(values: np.ndarray, caution: float) -> int:
    """The first candidate that the best one does not beat by more than noise.

    Args:
        values: one row for each candidate, the simplest first, one column for each user, float64
            (m, n), n > 1.
        caution: standard errors of the paired difference that count as noise (Breiman et al. 1984
            take one).
    """
    best = int(values.mean(axis=1).argmax())
    return next(
        place for place in range(best + 1) if not beats(values[best] - values[place], caution)
    )


def beats(differences: np.ndarray, caution: float) -> bool:
    """Whether paired differences, float64 (n,), are above 0 by more than noise."""
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() > caution * error)


def honest_gain(values: np.ndarray, baseline: np.ndarray, seed: int) -> np.ndarray:
    """What choosing the best candidate gains each user over the baseline, the choice made on other
    users only.

    The largest of many means is too large by luck; so the users are dealt into folds, and those of
    a fold get the candidate that is best on all others (Stone 1974, "cross-validatory choice").

    Args:
        values: float64 (m, n).
        baseline: float64 (n,).
        seed: of the folds.

    Returns:
        Differences, float64 (n,).
    """
    n = values.shape[1]
    fold = rng(seed, "folds").permutation(n) % min(_FOLDS, n)
    gain = np.empty(n)
    for number in range(min(_FOLDS, n)):
        held = fold == number
        best = values[:, ~held].mean(axis=1).argmax()
        gain[held] = values[best, held] - baseline[held]
    return gain
