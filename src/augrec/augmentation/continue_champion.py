"""Leaves the rows as they are, and lets training begin at the champion's weights."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig


class ContinueChampionConfig(BaseConfig):
    """What is learnt beside the new data."""

    older: float = Field(0.0, ge=0.0, le=1.0)
    """What users active since did before weighs so much as a target; 0: new data only, 1: their
    whole histories."""


class ContinueChampion(Operation):
    """Fine-tuning: a recommender of the champion's kind goes on where the champion stopped, with
    what users did since then.

    Of users who did something since, what they did before is read, as their history, and is a
    target of weight `older` × its own, 0 by default; all others are left out. Where nobody did
    anything, all rows are learnt. The rows that decide the catalogue and its popularity are all of
    them. The gate holds the model against the full retrain: it is chosen only where test users rule
    a loss beyond the margin out. All other recommenders train in full, and so does everything where
    there is no champion yet; training.json says which it was, and why.
    """

    Config = ContinueChampionConfig
    kind = "real"
    continues_champion = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """The rows as they are."""
        return training
