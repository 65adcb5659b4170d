"""data/prepared, data/features → data/training_set: training interactions with features as they were at that moment."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

from augrec.data.columns import Columns as C
from augrec.features.store import point_in_time
from augrec.files import whole_directory, write_parquet
from augrec.stages.runner import run

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
TRAINING_SET = Path("data/training_set")


def main() -> None:
    """Write interactions.parquet, train.parquet's rows with features, and users.parquet, training users only."""
    train = pl.read_parquet(PREPARED / "train.parquet")
    users = pl.read_parquet(PREPARED / "users.parquet")
    joined = point_in_time(Path(), train)
    log.info("%d interactions, %d feature columns", len(joined), joined.width - train.width)
    with whole_directory(TRAINING_SET) as folder:
        write_parquet(folder / "interactions.parquet", joined)
        write_parquet(
            folder / "users.parquet", users.join(train.select(C.USER).unique(), on=C.USER, how="semi")
        )


if __name__ == "__main__":
    run(main)
