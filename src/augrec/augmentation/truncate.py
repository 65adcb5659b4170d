"""Real users cut to their first items, the rest to be predicted: what they were as new users."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from augrec.augmentation._users import NUMBER, append_users, copy_users, each_in_turn, users_to_add
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C


class TruncateConfig(BaseConfig):
    """Config of the truncation."""

    ratio: float = Field(1.0, ge=0.0)
    """Truncated users for each real one."""
    max_length: int = Field(5, ge=1)
    """Between 1 and this many first items are observed."""


class Truncate(Operation):
    """Adds real users cut to their first items, to teach a model what cold users go on to like.

    All rows of the user are kept; those after the cut have `observed` False: targets that are no
    input. Users with a single item have nothing left to predict and are not used. Each user is cut
    equally often, give or take one.
    """

    Config = TruncateConfig
    kind = "real"
    makes_users = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the truncated users."""
        random = rng(self.seed, "users")
        lengths = inputs.real.group_by(C.USER).len().sort(C.USER)["len"].to_numpy().astype(np.int64)
        n = users_to_add(self.config.ratio, training, inputs)
        chosen = each_in_turn(np.nonzero(lengths >= 2)[0], n, random)
        cuts = random.integers(1, np.minimum(self.config.max_length, lengths[chosen] - 1) + 1)
        rows = copy_users(inputs.real, chosen)
        place = rows.select(pl.int_range(pl.len()).over(NUMBER)).to_series()
        seen = place < pl.Series(np.repeat(cuts, lengths[chosen]))
        return append_users(training, rows.with_columns(seen.alias(C.OBSERVED)), self.name())
