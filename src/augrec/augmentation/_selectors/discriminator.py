"""A discriminator trained for any sample, placebos included."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector, best
from augrec.core.config import BaseConfig
from augrec.core.seeds import derive, rng
from augrec.data.embedding import basis, unit

_RIDGE = 5.0
_USERS_PER_DIMENSION = 20
"""With fewer users the space has fewer dimensions, so that the regression does not overfit."""
_NEWTON_STEPS = 25
_MOST = 10.0
"""Log odds are clipped to this."""


class DiscriminatorConfig(BaseConfig):
    """Its features, and how it selects."""

    dimensions: int = Field(32, ge=1)
    """Features are a profile's coordinates in the space of this many singular vectors of all
    profiles, their squares, and the length."""
    keep: float = Field(1.0, gt=0, le=1)
    """Share of the sample that is kept, the users most likely to be real."""
    power: float = Field(1.0, ge=0)
    """Those kept are drawn in proportion to their odds of being real to this power; 1 removes the
    difference between sample and real users as far as the discriminator detects it."""


class Discriminator(Selector):
    """Draws by the odds that a logistic regression gives a user of being real (Azadi et al. 2019,
    arXiv 1810.06758).

    Each half of the users is scored by a regression that was fitted on the other half. Where it
    cannot distinguish them, all are drawn alike.
    """

    Config = DiscriminatorConfig

    def values(self, pool: Pool) -> np.ndarray:
        """odds^power for those kept, else 0."""
        # of real and synthetic users together: directions of real ones alone would fit those best
        both = sp.csr_matrix(sp.vstack([pool.real_profiles, pool.profiles]))
        dimensions = max(1, min(self.config.dimensions, both.shape[0] // _USERS_PER_DIMENSION))
        directions = basis(both, dimensions, derive(self.seed, "space"))
        seen = _features(both, directions)
        is_real = np.repeat([1.0, 0.0], [pool.real_profiles.shape[0], pool.profiles.shape[0]])
        seen = (seen - seen.mean(0)) / np.maximum(seen.std(0), 1e-9)
        half = rng(self.seed, "halves").permutation(len(seen)) % 2
        log_odds = np.empty(len(seen))
        for side in (0, 1):
            taught = half != side
            log_odds[~taught] = _judge(seen[taught], is_real[taught], seen[~taught])
        mine = np.clip(log_odds[is_real == 0], -_MOST, _MOST)
        return best(mine, self.config.keep) * np.exp(self.config.power * mine)


def _features(profiles: sp.csr_matrix, directions: np.ndarray) -> np.ndarray:
    """Place, its squares and length, float64 (n, 2d + 1): a profile that mixes two tastes lies
    between those of real users, which no linear model detects."""
    lengths, place = np.log1p(np.diff(profiles.indptr)), unit(profiles) @ directions
    return np.column_stack([place, place**2, lengths]).astype(np.float64)


def _judge(seen: np.ndarray, is_real: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Log odds float64 (m,) of ridge-penalised logistic regression, both classes of equal weight,
    by Newton's method."""
    seen = np.column_stack([np.ones(len(seen)), seen])
    share = is_real.mean()
    weights = np.where(is_real > 0, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))
    penalty = _RIDGE * np.eye(seen.shape[1])
    penalty[0, 0] = 1e-6
    theta = np.zeros(seen.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(seen @ theta, -_MOST, _MOST)))
        gradient = seen.T @ (weights * (chance - is_real)) + penalty @ theta
        curvature = (seen * (weights * chance * (1 - chance))[:, None]).T @ seen + penalty
        step = np.linalg.solve(curvature, gradient)
        theta -= step
        if np.abs(step).max() < 1e-8:
            break
    return theta[0] + asked @ theta[1:]
