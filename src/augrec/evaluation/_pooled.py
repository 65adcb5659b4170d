"""What a head says of all its pairs together, added up part by part: memory does not grow with the
pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

N_BINS: Final = 15
LEAST: Final = 1e-7
"""In the log-loss probabilities are kept so far from 0 and 1."""
_LEVELS: Final = 2**16
_LARGEST: Final = 16.0
"""In log-odds: the levels lie evenly between its negative and it, 0.0005 apart."""


def losses(happened: np.ndarray, said: np.ndarray) -> np.ndarray:
    """-ln of the probability given to what happened, in nats, float64 (n,)."""
    given = np.clip(np.where(happened, said, 1 - said.astype(np.float64)), LEAST, 1 - LEAST)
    return -np.log(given)


@dataclass
class Chances:
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

    def add(self, happened: np.ndarray, said: np.ndarray, weights: np.ndarray) -> Chances:
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

    def told(self) -> dict[str, float | int | None]:
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
class Values:
    """Pairs of a head of kind "value"."""

    n: int = 0
    squares: float = 0.0
    distances: float = 0.0

    def add(self, errors: np.ndarray) -> Values:
        """Add what was said minus what came, float64 (n,)."""
        self.n += len(errors)
        self.squares += float((errors**2).sum())
        self.distances += float(np.abs(errors).sum())
        return self

    def told(self) -> dict[str, float | int | None]:
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
