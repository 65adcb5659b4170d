"""Short real histories extended at their end, or before their beginning, by a generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from pydantic import Field

from augrec.augmentation._users import append_rows
from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.data.columns import INTERACTIONS, require
from augrec.data.columns import Columns as C
from augrec.generators.base import DIRECTION, EXTENSIONS, PLACE


class ExtendConfig(BaseConfig):
    """Which generator, on which side of which histories, at what weight."""

    sample: str
    """A generator that extends histories."""
    direction: Literal["left", "right", "both"] = "left"
    """Before the first real row, after the last one, or both."""
    max_length: int = Field(5, ge=1)
    """Histories of at most this many distinct items are extended, as far as `synthesis.extensions`
    has written rows for them."""
    items: int = Field(2, ge=0)
    """Rows on each side, at most; those nearest to the real ones."""
    weight: float = Field(0.1, ge=0.0)
    """Of an added row where a real one has 1; at 0 nothing is added."""
    observed: bool = True
    """Whether models read the added rows as part of the history, or have them only as further
    targets."""


class Extend(Operation):
    """Adds rows to real users with few items: pseudo-prior items to the left (arXiv 2105.00522), or
    what comes next.

    Only training users are extended, from their training rows alone, and inside the training time:
    the stage `synthesize` writes the rows that way. They carry the ids of real users and belong to
    no sample that may be shared. `expand` is the placebo to beat. Use a few rows of little weight:
    where real histories have three rows, ten synthetic ones dominate them.
    """

    Config = ExtendConfig
    kind = "generated"

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        self.generators = (self.config.sample,)

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Append the rows.

        Raises:
            ConfigError: the generator has extended nothing.
            InputError: its extensions are not canonical.
        """
        config = self.config
        if not config.items or not config.weight:
            return training
        guesses = inputs.sample_table(config.sample, EXTENSIONS)
        if guesses is None:
            raise ConfigError(
                f"there are no extensions of {config.sample}",
                where="params.yaml, extend.sample",
                fix="name a generator of run.generators that extends histories, with "
                "synthesis.extensions.items above 0",
            )
        require(guesses, INTERACTIONS, where=f"the extensions of {config.sample}")
        sides = ["left", "right"] if config.direction == "both" else [config.direction]
        short = (
            inputs.real.group_by(C.USER)
            .agg(pl.col(C.ITEM).n_unique())
            .filter(pl.col(C.ITEM) <= config.max_length)
        )
        rows = (
            guesses.filter(pl.col(DIRECTION).is_in(sides), pl.col(PLACE) <= config.items)
            .join(short, on=C.USER, how="semi", maintain_order="left")
            .join(training, on=[C.USER, C.ITEM], how="anti", maintain_order="left")
            .unique([C.USER, C.ITEM], keep="first", maintain_order=True)
            .sort(C.USER, C.TIMESTAMP, maintain_order=True)
            .with_columns(
                pl.lit(config.weight).alias(C.WEIGHT), pl.lit(config.observed).alias(C.OBSERVED)
            )
        )
        return append_rows(training, rows.select(*INTERACTIONS, C.OBSERVED))
