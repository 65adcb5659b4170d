"""Adds synthetic users from a generator's sample."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, users_to_add
from augrec.augmentation.base import Ingredients, Operation
from augrec.component import ComponentConfig
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.errors import ConfigError


class MixConfig(ComponentConfig):
    """Knobs of the mix."""

    sample: str
    """Name of the generator whose sample is used."""
    ratio: float = Field(1.0, ge=0.0)
    """Synthetic users for each real one."""
    weight: float = Field(1.0, ge=0.0)
    """Weight of their rows where a real row has 1; at 0 nothing is added."""


class Mix(Operation):
    """Adds the first users of the sample.

    More users than the sample holds are refused: with fewer, the comparison with a placebo would not be equal.
    """

    Config = MixConfig
    kind = "generated"

    def apply(self, training: pl.DataFrame, ingredients: Ingredients) -> pl.DataFrame:
        """Append the synthetic users.

        Raises:
            ConfigError: the sample holds fewer users than are asked for.
            InputError: the sample is not canonical.
        """
        sample = ingredients.sample(self.config.sample)
        require(sample, INTERACTIONS, where=f"the sample of {self.config.sample}")
        n = users_to_add(self.config.ratio, training, ingredients) if self.config.weight > 0 else 0
        if n > (held := sample[C.USER].n_unique()):
            raise ConfigError(
                f"the policy asks for {n} users of {self.config.sample}, its sample holds {held}",
                where="params.yaml, mix.ratio",
                fix="raise synthesis.ratio to at least mix.ratio, or lower mix.ratio",
            )
        numbered = sample.sort(C.USER, C.TIMESTAMP, maintain_order=True).with_columns(
            pl.col(C.USER).rle_id().alias(NUMBER),
            pl.lit(self.config.weight, dtype=pl.Float32).alias(C.WEIGHT),
        )
        return append_users(training, numbered.filter(pl.col(NUMBER) < n), self.config.sample)
