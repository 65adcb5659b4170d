"""Reading the training set, for the stages that learn or build from it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import INTERACTIONS
from augrec.data.columns import Columns as C

FOLDER = Path("data/training_set")


def read_table(path: Path, made_by: str) -> pl.DataFrame:
    """A Parquet table of the working directory.

    Raises:
        InputError: it is not there or not whole.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path.name} is missing or not whole",
            where=str(path),
            fix=f"run the stage {made_by} again",
        ) from error


def read_training_interactions() -> pl.DataFrame:
    """The canonical columns of the training set; features and outcomes are left on disk.

    Raises:
        InputError: the table is missing, not whole, or lacks a canonical column.
    """
    path = FOLDER / "interactions.parquet"
    try:
        return pl.read_parquet(path, columns=list(INTERACTIONS))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            "the training set is missing, not whole, or lacks a canonical column",
            where=str(path),
            fix="run the stage training_set again",
        ) from error


def with_features(interactions: pl.DataFrame) -> pl.DataFrame:
    """Real rows get the features of their moment, columns user__… and item__…, and outcomes; all
    other rows get nulls.

    Args:
        interactions: canonical rows of an augmented training set.

    Raises:
        InputError: the training set is missing or not whole.
    """
    features = read_table(FOLDER / "interactions.parquet", "training_set").drop(
        [name for name in INTERACTIONS if name not in (C.USER, C.ITEM)]
    )
    return interactions.join(features, on=[C.USER, C.ITEM], how="left", maintain_order="left")
