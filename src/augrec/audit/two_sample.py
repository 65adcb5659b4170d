"""Can a classifier distinguish real users from synthetic ones?"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import special, stats

from augrec.audit.space import Space
from augrec.core.seeds import rng

_PENALTY = 1.0
_NEWTON_STEPS = 30


def two_sample_test(
    space: Space,
    real: sp.csr_matrix,
    synthetic: sp.csr_matrix,
    *,
    folds: int,
    confidence: float,
    seed: int,
) -> dict[str, float]:
    """The classifier two-sample test (Lopez-Paz & Oquab 2017, arXiv 1610.06545), cross-fitted.

    A penalised logistic regression gets each user's coordinates in `space` and their squares, the
    number of items and their mean popularity, and classifies users it was not fitted on.
    c2st_accuracy: share it classifies correctly, 0.5 where it cannot distinguish real from
    synthetic, with its interval (normal approximation; 1 / (4 n) is the variance of guessing).
    c2st_auc: area under its ROC curve.

    Args:
        space: equally many of both.
        real, synthetic: profiles 0/1 (n_users, n_items) of all users.
        folds, confidence, seed: of the cross-fitting and the interval.
    """
    popularity = np.log1p(np.asarray(real.sum(axis=0)).ravel())
    features = np.concatenate(
        [
            _features(space.real, real[space.real_rows], popularity),
            _features(space.synthetic, synthetic[space.synthetic_rows], popularity),
        ]
    )
    truth = np.repeat([0.0, 1.0], [len(space.real), len(space.synthetic)])
    said = _cross_fitted(features, truth, folds, rng(seed, "two-sample"))
    right = np.where(said == 0, 0.5, (said > 0) == (truth > 0))
    accuracy = float(right.mean())
    half = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(
        max(accuracy * (1 - accuracy), 1e-12) / len(right)
    )
    ranks = stats.rankdata(said)
    n = int(truth.sum())
    wins = ranks[truth > 0].sum() - n * (n + 1) / 2
    return {
        "c2st_accuracy": accuracy,
        "c2st_accuracy_low": float(max(accuracy - half, 0.0)),
        "c2st_accuracy_high": float(min(accuracy + half, 1.0)),
        "c2st_auc": float(wins / max(n * (len(truth) - n), 1)),
    }


def _features(points: np.ndarray, profiles: sp.csr_matrix, popularity: np.ndarray) -> np.ndarray:
    lengths = np.maximum(np.diff(profiles.indptr), 1)
    return np.column_stack([points, points**2, np.log(lengths), profiles @ popularity / lengths])


def _cross_fitted(
    features: np.ndarray, truth: np.ndarray, folds: int, random: np.random.Generator
) -> np.ndarray:
    """Log odds float64 (n,) that each row is of class 1, from the rows of the other folds."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    table = np.column_stack([np.ones(len(scaled)), scaled])
    fold, said = random.permutation(len(truth)) % folds, np.zeros(len(truth))
    for at in range(folds):
        rest = fold != at
        if 0 < truth[rest].mean() < 1:
            said[~rest] = table[~rest] @ _logistic(table[rest], truth[rest])
    return said


def _logistic(table: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Ridge logistic regression by Newton's method; the first column, the intercept, is not
    penalised."""
    penalty = np.full(table.shape[1], _PENALTY)
    penalty[0] = 1e-6
    weights = np.zeros(table.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = special.expit(table @ weights)
        gradient = table.T @ (chance - truth) + penalty * weights
        curvature = (table * np.maximum(chance * (1 - chance), 1e-6)[:, None]).T @ table
        step = np.linalg.solve(curvature + np.diag(penalty), gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights
