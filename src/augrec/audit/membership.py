"""A user-level membership inference attack on a released sample: which users was the generator
trained on?

The attacker has the sample and a user's profile, and takes likeness to the nearest synthetic
profile as evidence of membership. Two scores are tried:

* plain: the mean Jaccard similarity to the nearest synthetic profiles;
* calibrated: the same minus the similarity to the nearest *other* real training users. A mainstream
  user is like most others, synthetic or not; the rest is what the sample discloses about this one
  user (compare arXiv 2111.08440).

**Comparable groups.** Members are training users; non-members are held-out validation users, which
neither the generator nor the final test ever uses. Long profiles are more like others than short
ones, so members are weighted within bands of profile length until their lengths are distributed as
those of the non-members; no profile is truncated, which would hide a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from augrec.core.seeds import rng

_ROC_POINTS = 101
_RATE = 0.01


@dataclass(frozen=True)
class Attack:
    """How well members are distinguished from non-members.

    Attributes:
        auc, low, high: area under the ROC curve and its bootstrap interval over users; 0.5 is
            guessing.
        tpr_at_1_percent_fpr, tpr_low, tpr_high: share of members found at a false-positive rate of
            at most 1 % (Carlini et al. 2022, arXiv 2112.03570), and its interval. With fewer than
            100 non-members that is without any false positive.
        false_positive_rate, true_positive_rate: the ROC curve, float64 (101,).
    """

    auc: float
    low: float
    high: float
    tpr_at_1_percent_fpr: float
    tpr_low: float
    tpr_high: float
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray


def length_weights(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights that give both groups the same distribution of profile lengths, in bands of half an
    octave.

    Args:
        members, others: int lengths (n,) and (m,), all at least 1.

    Returns:
        float64 (n,) and (m,), each summing to 1; users of a band without a counterpart have weight
        0. All zero where the groups have no band in common.
    """
    bands = [np.floor(2 * np.log2(lengths)).astype(np.int64) for lengths in (members, others)]
    size = 1 + max((band.max() for band in bands if len(band)), default=0)
    counts = [np.bincount(band, minlength=size) for band in bands]
    member_weights = (counts[1] / np.maximum(counts[0], 1))[bands[0]]
    other_weights = (counts[0] > 0).astype(np.float64)[bands[1]]
    return member_weights / max(member_weights.sum(), 1e-12), other_weights / max(
        other_weights.sum(), 1e-12
    )


def attack(
    members: np.ndarray,
    others: np.ndarray,
    member_weights: np.ndarray,
    other_weights: np.ndarray,
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Attack:
    """Attack by a score that is larger for users who seem to be members.

    Args:
        members, others: scores float64 (n,) and (m,).
        member_weights, other_weights: see `length_weights`; not all zero.
        samples, confidence, seed: of the bootstrap.
    """
    wins = _wins(members, others)
    drawn = resampled((member_weights, other_weights), samples, seed)  # (samples, n or m)
    areas = ((drawn[0].astype(np.float32) @ wins) * drawn[1]).sum(axis=1)
    rates = _found(members, others, *drawn)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    false_rate, true_rate = _roc(members, others, member_weights, other_weights)
    grid = np.linspace(0.0, 1.0, _ROC_POINTS)
    (low, high), (tpr_low, tpr_high) = np.quantile(areas, tails), np.quantile(rates, tails)
    return Attack(
        auc=area(members, others, member_weights, other_weights),
        low=float(low),
        high=float(high),
        tpr_at_1_percent_fpr=float(true_rate[false_rate <= _RATE + 1e-9].max()),
        tpr_low=float(tpr_low),
        tpr_high=float(tpr_high),
        false_positive_rate=grid,
        true_positive_rate=np.interp(grid, false_rate, true_rate),
    )


def area(
    members: np.ndarray, others: np.ndarray, member_weights: np.ndarray, other_weights: np.ndarray
) -> float:
    """Area under the ROC curve of the scores, see `attack`."""
    return float(member_weights @ _wins(members, others) @ other_weights)


def resampled(weights: tuple[np.ndarray, np.ndarray], samples: int, seed: int) -> list[np.ndarray]:
    """Users of both groups resampled with replacement: their weights, each row summing to 1,
    (samples, n) and (samples, m)."""
    random = rng(seed, "people")
    drawn = [
        random.multinomial(len(part), np.full(len(part), 1 / len(part)), samples) * part
        for part in weights
    ]
    return [part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in drawn]


def effective_size(weights: np.ndarray) -> float:
    """Effective number of users of these weights (Kish 1965): (Σ w)² / Σ w²."""
    return float(weights.sum() ** 2 / max((weights**2).sum(), 1e-12))


def _wins(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Float32 (n, m): 1 where a member scores higher than a non-member, 0.5 where they score the
    same."""
    return (members[:, None] > others).astype(np.float32) + 0.5 * (members[:, None] == others)


def _found(
    members: np.ndarray, others: np.ndarray, member_drawn: np.ndarray, other_drawn: np.ndarray
) -> np.ndarray:
    """The true-positive rate at 1 % false positives for each resample, float64 (samples,)."""
    down, up = np.argsort(-others, kind="stable"), np.argsort(members, kind="stable")
    accused = np.cumsum(other_drawn[:, down], axis=1)
    first = (accused > _RATE + 1e-9).argmax(axis=1)  # the first false positive beyond the rate
    above = len(members) - np.searchsorted(members[up], others[down][first], side="right")
    from_top = np.cumsum(member_drawn[:, up[::-1]], axis=1)
    return np.where(above > 0, from_top[np.arange(len(from_top)), above - 1], 0.0)


def _roc(
    members: np.ndarray, others: np.ndarray, member_weights: np.ndarray, other_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold, from no user to all users predicted as
    members."""
    scores, band = np.unique(np.concatenate([members, others]), return_inverse=True)
    rates = []
    for part, weights in (
        (band[len(members) :], other_weights),
        (band[: len(members)], member_weights),
    ):
        at = np.bincount(part, weights, minlength=len(scores))[::-1]
        rates.append(np.concatenate([[0.0], np.minimum(np.cumsum(at), 1.0)]))
    return rates[0], rates[1]
