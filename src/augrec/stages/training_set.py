"""data/prepared, data/features → data/training_set: training interactions and cases, with their
point-in-time features.

Training interactions also have their outcomes before validation begins; see `augrec.data.outcomes`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.files import whole_directory, write_parquet
from augrec.core.memory import require_memory
from augrec.data.columns import Columns as C
from augrec.data.outcomes import events_before, with_outcomes
from augrec.data.split import TEST, VALID
from augrec.features.store import point_in_time
from augrec.stages._inputs import TRAINING_SET, begin_of
from augrec.stages.runner import run

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
_BYTES_OF_A_ROW: Final = 540
"""Of memory, see benchmarks/results/stage_growth.md."""


def main() -> None:
    """Write the training rows with features and outcomes, the cases with features, and
    users.parquet, training users only."""
    require_memory(
        PREPARED / "train.parquet",
        _BYTES_OF_A_ROW,
        "set data.window to a shorter time, lower features.max_categories, or take a machine with "
        "more memory",
    )
    train = pl.read_parquet(PREPARED / "train.parquet")
    users = pl.read_parquet(PREPARED / "users.parquet")
    joined = point_in_time(Path(), train)
    log.info("%d interactions, %d feature columns", len(joined), joined.width - train.width)
    with whole_directory(TRAINING_SET) as folder:
        write_parquet(
            folder / "interactions.parquet", with_outcomes(joined, _events_before_validation())
        )
        write_parquet(
            folder / "users.parquet",
            users.join(train.select(C.USER).unique(), on=C.USER, how="semi"),
        )
        for split in (VALID, TEST):
            write_parquet(folder / f"cases_{split}.parquet", _with_features(split, users))


def _events_before_validation() -> pl.DataFrame:
    """The events before validation, which comes before test."""
    cases = pl.concat(
        pl.read_parquet(PREPARED / f"cases_{split}.parquet", columns=[C.USER, "moment"])
        for split in (VALID, TEST)
    )
    events = pl.read_parquet(PREPARED / "events.parquet")
    return events_before(events, begin_of(VALID), cases)


def _with_features(split: str, users: pl.DataFrame) -> pl.DataFrame:
    """The cases of a split with their users' attributes, and features as they were at the case's
    moment."""
    cases = pl.read_parquet(PREPARED / f"cases_{split}.parquet")
    features = point_in_time(Path(), cases.select(C.USER, pl.col("moment").alias(C.TIMESTAMP)))
    attributes = cases.select(C.USER).join(
        users.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left"
    )
    return pl.concat(
        [cases, attributes.drop(C.USER), features.drop(C.USER, C.TIMESTAMP)], how="horizontal"
    )


if __name__ == "__main__":
    run(main)
