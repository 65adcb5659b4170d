"""data/prepared → data/features: point-in-time feature tables of users and items."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

from augrec.data.columns import Columns as C
from augrec.features.build import Prepared, item_features, top_categories, user_features
from augrec.features.schema import FeaturesConfig, schema_of
from augrec.files import whole_directory, write_json, write_parquet
from augrec.stages.runner import read_params, run

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
FEATURES = Path("data/features")


def main() -> None:
    """Write user_features.parquet, item_features.parquet, their schema.json and the names of the category slots."""
    config = FeaturesConfig.from_params(read_params()["features"])
    items = pl.read_parquet(PREPARED / "items.parquet", columns=[C.ITEM, C.CATEGORIES, C.PRICE])
    train = pl.read_parquet(PREPARED / "train.parquet", columns=[C.ITEM])
    data = Prepared(
        interactions=pl.read_parquet(
            PREPARED / "interactions.parquet", columns=[C.USER, C.ITEM, C.TIMESTAMP, C.VALUE]
        ),
        items=items,
        users=pl.read_parquet(PREPARED / "users.parquet", columns=[C.USER]),
        held_out=pl.read_parquet(PREPARED / "held_out.parquet", columns=[C.USER]),
        categories=top_categories(train, items, config.max_categories),
    )
    with whole_directory(FEATURES) as folder:
        for kind, build in (("user", user_features), ("item", item_features)):
            table = build(data, config)
            write_parquet(folder / f"{kind}_features.parquet", table)
            log.info("%s features: %d snapshots, %d columns", kind, len(table), table.width)
        write_json(folder / "schema.json", schema_of(config))
        write_json(folder / "categories.json", data.categories)


if __name__ == "__main__":
    run(main)
