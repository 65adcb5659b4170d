"""Leaves the rows unchanged, and lets training begin at the champion's weights."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from augrec.augmentation.base import Operation, PolicyInputs
from augrec.core.config import BaseConfig


class ContinueChampionConfig(BaseConfig):
    """What is trained on in addition to the new data."""

    older: float = Field(0.0, ge=0.0, le=1.0)
    """Weight of older targets of users active since; 0: new data only, 1: their whole histories."""


class ContinueChampion(Operation):
    """Fine-tuning: a recommender of the champion's kind continues from the champion's weights, with
    what users did since then.

    For users with interactions since, older interactions are inputs, as their history, and targets
    of weight `older` × their own, 0 by default; all other users are left out. Where no user has
    interactions since, all rows are trained on. The catalogue and its popularity come from all
    rows. The gate compares the model with the full retrain: it is chosen only where test users rule
    out a loss beyond the margin. All other recommenders train in full, and so do all where there is
    no champion yet; training.json records which it was, and why.
    """

    Config = ContinueChampionConfig
    kind = "real"
    continues_champion = True

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """The rows as they are."""
        return training
