"""A user-level membership inference attack on a released sample: who was the generator trained on?

The attacker has the sample and a person's profile, and takes likeness to the nearest synthetic profile as the sign of
membership. Two scores are tried:

* plain: the mean Jaccard similarity to the nearest synthetic profiles;
* calibrated: the same minus the similarity to the nearest *other* real training users. A mainstream person is like
  everybody, synthetic or not; what is left is what the sample knows about this one person (compare arXiv 2111.08440).

**Equal footing.** Members are training users; others are held-out validation users, whom neither the generator nor the
final test ever meets. Long profiles are more like others than short ones, so members are weighted within bands of profile
length until their lengths are distributed as those of the others; nobody is cut short, which would hide a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from augrec.seeds import rng

_ROC_POINTS = 101


@dataclass(frozen=True)
class Attack:
    """How well members are told from others.

    Attributes:
        auc, low, high: area under the ROC curve and its bootstrap interval over people; 0.5 is guessing.
        tpr_at_1_percent_fpr: share of members found where at most 1 % of the others are accused.
        false_positive_rate, true_positive_rate: the ROC curve, float64 (101,).
    """

    auc: float
    low: float
    high: float
    tpr_at_1_percent_fpr: float
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray


def length_weights(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights that give both groups the same distribution of profile lengths, in bands of half an octave.

    Args:
        members, others: int lengths (n,) and (m,), all at least 1.

    Returns:
        float64 (n,) and (m,), each summing to 1; people of a band without a counterpart weigh nothing. All zero where
        the groups have no band in common.
    """
    bands = [np.floor(2 * np.log2(lengths)).astype(np.int64) for lengths in (members, others)]
    size = 1 + max((band.max() for band in bands if len(band)), default=0)
    counts = [np.bincount(band, minlength=size) for band in bands]
    member_weights = (counts[1] / np.maximum(counts[0], 1))[bands[0]]
    other_weights = (counts[0] > 0).astype(np.float64)[bands[1]]
    return member_weights / max(member_weights.sum(), 1e-12), other_weights / max(other_weights.sum(), 1e-12)


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
    """Attack by a score that is larger for people who seem to be members.

    Args:
        members, others: scores float64 (n,) and (m,).
        member_weights, other_weights: see `length_weights`; not all zero.
        samples, confidence, seed: of the bootstrap.
    """
    wins = (members[:, None] > others).astype(np.float32) + 0.5 * (members[:, None] == others)  # (n, m)
    random = rng(seed, "people")
    drawn = [
        random.multinomial(len(weights), np.full(len(weights), 1 / len(weights)), samples) * weights
        for weights in (member_weights, other_weights)
    ]
    drawn = [part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in drawn]  # (samples, n or m)
    areas = ((drawn[0] @ wins) * drawn[1]).sum(axis=1)
    low, high = np.quantile(areas, [(1 - confidence) / 2, (1 + confidence) / 2])
    false_rate, true_rate = _roc(members, others, member_weights, other_weights)
    grid = np.linspace(0.0, 1.0, _ROC_POINTS)
    return Attack(
        auc=float(member_weights @ wins @ other_weights),
        low=float(low),
        high=float(high),
        tpr_at_1_percent_fpr=float(true_rate[false_rate <= 0.01 + 1e-9].max()),
        false_positive_rate=grid,
        true_positive_rate=np.interp(grid, false_rate, true_rate),
    )


def _roc(
    members: np.ndarray, others: np.ndarray, member_weights: np.ndarray, other_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold, from accusing nobody to accusing everybody."""
    scores, band = np.unique(np.concatenate([members, others]), return_inverse=True)
    rates = []
    for part, weights in ((band[len(members) :], other_weights), (band[: len(members)], member_weights)):
        at = np.bincount(part, weights, minlength=len(scores))[::-1]
        rates.append(np.concatenate([[0.0], np.minimum(np.cumsum(at), 1.0)]))
    return rates[0], rates[1]
