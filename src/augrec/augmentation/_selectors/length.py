"""Cold users, or those of any length."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augrec.augmentation._selectors.base import Pool, Selector
from augrec.core.config import BaseConfig


class LengthConfig(BaseConfig):
    """Which lengths, in distinct items."""

    min: int = Field(1, ge=1)
    """Shorter users are left out."""
    max: int | None = Field(None, ge=1)
    """Longer ones too; null: however long."""
    power: float = Field(0.0, ge=0)
    """A user of n items counts 1 / n to this power: above 0 short users are likelier."""


class Length(Selector):
    """By how many distinct items a user has: a slice of lengths, and shorter users more often."""

    Config = LengthConfig

    def values(self, pool: Pool) -> np.ndarray:
        """1 / n^power inside the slice, else 0."""
        config, lengths = self.config, np.diff(pool.profiles.indptr)
        inside = (lengths >= config.min) & (lengths <= (config.max or np.inf))
        return inside / lengths.astype(np.float64) ** config.power
