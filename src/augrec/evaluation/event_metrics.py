"""Metrics of predicted events and values: for each group of pairs, or over all pairs, added up in
parts so that memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

N_BINS: Final = 15
LEAST: Final = 1e-7
"""The log-loss keeps probabilities at least this far from 0 and 1."""
_LEVELS: Final = 2**16
_LARGEST: Final = 16.0
"""In log-odds: the levels are evenly spaced between its negative and it, 0.0005 apart."""


def losses(happened: np.ndarray, said: np.ndarray) -> np.ndarray:
    """-ln of the probability given to what happened, in nats, float64 (n,)."""
    given = np.clip(np.where(happened, said, 1 - said.astype(np.float64)), LEAST, 1 - LEAST)
    return -np.log(given)


def auc(
    happened: np.ndarray, said: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """The probability that a positive is scored higher than a negative, ties one half, in each
    group; NaN where one class is missing.

    Args:
        happened: bool (n,).
        said: float (n,).
        weights: at least 0, float (n,).
        groups: 0 … n_groups - 1, int (n,).
        n_groups: their number.

    Returns:
        float64 (n_groups,).
    """
    order = np.lexsort((said, groups))
    happened, said, weights, groups = happened[order], said[order], weights[order], groups[order]
    fresh = np.ones(len(said), np.bool_)
    fresh[1:] = (groups[1:] != groups[:-1]) | (said[1:] != said[:-1])
    run = np.cumsum(fresh) - 1  # pairs of one group with the same score
    negative = np.bincount(run, weights * ~happened)
    negatives = np.bincount(groups, weights * ~happened, minlength=n_groups)
    positives = np.bincount(groups, weights * happened, minlength=n_groups)
    before_group = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
    below = (np.cumsum(negative) - negative)[run] - before_group[groups] + 0.5 * negative[run]
    won = np.bincount(groups, weights * happened * below, minlength=n_groups)
    return share(won, positives * negatives)


def log_loss(
    happened: np.ndarray, said: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> np.ndarray:
    """The weighted mean of -ln of the probability given to what happened, in each group; arguments
    as of `auc`."""
    lost = np.bincount(groups, weights * losses(happened, said), minlength=n_groups)
    return share(lost, np.bincount(groups, weights, minlength=n_groups))


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN where that is 0 / 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


@dataclass
class PooledProbabilities:
    """Weighted pairs of a head of kind "probability".

    The area under the curve rests on counts of positives and negatives at each level of log-odds,
    so that predictions of one level count as equal: it is off by at most half the chance that a
    positive and a negative share a level.
    """

    n: int = 0
    weight: float = 0.0
    lost: float = 0.0
    gaps: np.ndarray = field(default_factory=lambda: np.zeros(N_BINS))
    levels: np.ndarray = field(default_factory=lambda: np.zeros((2, _LEVELS)))

    def add(
        self, happened: np.ndarray, said: np.ndarray, weights: np.ndarray
    ) -> PooledProbabilities:
        """Add pairs: happened bool (n,), said from 0 to 1 (n,), weights at least 0 (n,)."""
        exact = said.astype(np.float64)
        self.n += int(happened.sum())
        self.weight += float(weights.sum())
        self.lost += float((weights * losses(happened, said)).sum())
        bins = np.minimum((exact * N_BINS).astype(np.int64), N_BINS - 1)
        self.gaps += np.bincount(bins, weights * (exact - happened), minlength=N_BINS)
        level = _level(exact)
        for which, part in enumerate((~happened, happened)):
            self.levels[which] += np.bincount(level[part], weights[part], minlength=_LEVELS)
        return self

    def metrics(self) -> dict[str, float | int | None]:
        """{"n" (positives), "auc", "log_loss", "ece"}; None where a metric is not defined.

        The expected calibration error is that of Naeini, Cooper, Hauskrecht (2015): the mean over
        bins of equal width, by weight, of |mean prediction - share of positives|.
        """
        negatives, positives = self.levels
        pairs = float(negatives.sum() * positives.sum())
        won = float(positives @ (np.cumsum(negatives) - 0.5 * negatives))
        return {
            "n": self.n,
            "auc": won / pairs if pairs else None,
            "log_loss": self.lost / self.weight if self.weight else None,
            "ece": float(np.abs(self.gaps).sum()) / self.weight if self.weight else None,
        }


@dataclass
class PooledValues:
    """Pairs of a head of kind "value"."""

    n: int = 0
    squares: float = 0.0
    distances: float = 0.0

    def add(self, errors: np.ndarray) -> PooledValues:
        """Add predictions minus values, float64 (n,)."""
        self.n += len(errors)
        self.squares += float((errors**2).sum())
        self.distances += float(np.abs(errors).sum())
        return self

    def metrics(self) -> dict[str, float | int | None]:
        """{"n", "mse", "rmse", "mae"}; None without pairs."""
        if not self.n:
            return {"n": 0, "mse": None, "rmse": None, "mae": None}
        mse = self.squares / self.n
        return {"n": self.n, "mse": mse, "rmse": mse**0.5, "mae": self.distances / self.n}


def _level(said: np.ndarray) -> np.ndarray:
    """The level of each probability, int64 (n,)."""
    with np.errstate(divide="ignore"):  # 0 and 1 are the lowest and the highest level
        odds = np.clip(np.log(said) - np.log1p(-said), -_LARGEST, _LARGEST)
    return np.minimum(((odds + _LARGEST) * (_LEVELS / 2 / _LARGEST)).astype(np.int64), _LEVELS - 1)
