"""data/prepared → data/features: point-in-time feature tables of users and items."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from augrec.core.config import parse, read_params, section
from augrec.core.files import read_json, whole_directory, write_json, write_parquet
from augrec.core.memory import require_memory
from augrec.data.columns import Columns as C
from augrec.features.build import Prepared, item_features, top_categories, user_features
from augrec.features.schema import FeaturesConfig, schema_of
from augrec.stages.runner import run

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
FEATURES = Path("data/features")
ROWS = [C.USER, C.ITEM, C.TIMESTAMP, C.VALUE]
_BYTES_OF_A_ROW: Final = 300
"""Of memory, see benchmarks/results/stage_growth.md."""


def main() -> None:
    """Write user_features.parquet, item_features.parquet, their schema.json and the names of the
    category slots."""
    config = parse(FeaturesConfig, section(read_params(), "features"), "features")
    require_memory(
        PREPARED / "interactions.parquet",
        _BYTES_OF_A_ROW,
        "set data.window to a shorter time, raise features.every_days, or take a machine with more "
        "memory",
    )
    items = pl.read_parquet(PREPARED / "items.parquet", columns=[C.ITEM, C.CATEGORIES, C.PRICE])
    train = pl.read_parquet(PREPARED / "train.parquet", columns=ROWS)
    everything = pl.read_parquet(PREPARED / "interactions.parquet", columns=ROWS)
    order = read_json(PREPARED / "split.json")["rules"]["order"]
    data = Prepared(
        # without an order, rows before a target may be other targets: only training rows count
        interactions=train if order == "none" else everything,
        items=items,
        users=pl.read_parquet(PREPARED / "users.parquet", columns=[C.USER]),
        held_out=pl.read_parquet(PREPARED / "held_out.parquet", columns=[C.USER]),
        categories=top_categories(train, items, config.max_categories),
    )
    # without a cut in time common to all users, a training row may be later than a user's target
    of_items = data if order == "global" else replace(data, interactions=train)
    with whole_directory(FEATURES) as folder:
        for kind, table in (
            ("user", user_features(data, config)),
            ("item", item_features(of_items, config)),
        ):
            write_parquet(folder / f"{kind}_features.parquet", table)
            log.info("%s features: %d snapshots, %d columns", kind, len(table), table.width)
        write_json(folder / "schema.json", schema_of(config))
        write_json(folder / "categories.json", data.categories)


if __name__ == "__main__":
    run(main)
