"""Leaves the rows as they are, and lets training begin at the champion's weights."""

from __future__ import annotations

import polars as pl

from augrec.augmentation.base import Ingredients, Operation


class ContinueChampion(Operation):
    """Fine-tuning: a recommender of the champion's kind goes on where the champion stopped, from users active since then.

    All other recommenders train in full, and so does everything where there is no champion yet; training.json says which
    it was, and why. The rows that decide the catalogue and its popularity are all of them.
    """

    kind = "real"
    continues_champion = True

    def apply(self, training: pl.DataFrame, ingredients: Ingredients) -> pl.DataFrame:
        """The rows as they are."""
        return training
