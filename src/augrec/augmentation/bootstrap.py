"""Placebo: whole copies of random real users."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from augrec.augmentation._users import append_users, copy_users, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C


class BootstrapConfig(BaseConfig):
    """Config of the bootstrap."""

    ratio: float = Field(1.0, ge=0.0)
    """Copies for each real user."""


class Bootstrap(Operation):
    """Adds copies of users drawn with replacement: more rows and more gradient steps, no new
    information."""

    Config = BootstrapConfig
    kind = "placebo"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the copies."""
        n = users_to_add(self.config.ratio, training, inputs)
        chosen = rng(self.seed, "users").integers(0, inputs.real[C.USER].n_unique(), n)
        return append_users(training, copy_users(inputs.real, chosen), self.name())
