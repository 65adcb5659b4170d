"""How similar to a real user a synthetic one may or must be."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector, best
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.similarity import nearest


class LikenessConfig(BaseConfig):
    """What is too near, and what too far."""

    drop_nearest: float = Field(0.0, ge=0, lt=1)
    """Share of the sample that is left out as nothing new: the users most like a real one."""
    drop_farthest: float = Field(0.0, ge=0, lt=1)
    """Share left out as too far from every real user."""
    max: float = Field(1.0, ge=0, le=1)
    """Also, users more similar to a real one than this are left out …"""
    min: float = Field(0.0, ge=0, le=1)
    """… and those less similar to every real one than this."""
    references: int = Field(5000, ge=1)
    """At most this many real users are compared with, drawn at random where there are more: time
    stays linear in users."""


class Likeness(Selector):
    """Keeps users by their Jaccard similarity to the nearest real profile: novel ones, close ones,
    or a window.

    It selects for utility, not for privacy: whether a sample copies users is measured by the audit.
    """

    Config = LikenessConfig

    def values(self, pool: Pool) -> np.ndarray:
        """1 for those kept, else 0."""
        real = pool.real_profiles
        if real.shape[0] > self.config.references:
            chosen = rng(self.seed, "references").choice(
                real.shape[0], self.config.references, replace=False
            )
            real = real[np.sort(chosen)]
        similarity, _ = nearest(pool.profiles, real)
        near_enough = best(similarity, 1 - self.config.drop_farthest) & (
            similarity >= self.config.min
        )
        new_enough = best(-similarity, 1 - self.config.drop_nearest) & (
            similarity <= self.config.max
        )
        return (near_enough & new_enough).astype(np.float64)
