"""Train a generator on the training users: data/training_set -> models/generators/<generator>."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from augrec.files import whole_directory, write_text
from augrec.generators import base as generators
from augrec.seeds import derive
from augrec.stages._training_set import FOLDER, read_table, read_training_interactions
from augrec.stages.runner import read_params, run

log = logging.getLogger(__name__)


def main(name: str) -> None:
    """Train the generator called `name` on real rows, and keep its training curve beside it."""
    params = read_params()
    config = (params.get("generators") or {}).get(name)
    generator = generators.find(name)(config, seed=derive(params["seed"], "train_generator", name))
    curve: list[dict[str, float]] = []

    def show(row: Mapping[str, float]) -> None:
        curve.append(dict(row))
        log.info("%s", "  ".join(f"{key} {value:.4g}" for key, value in row.items()))

    interactions = read_training_interactions()
    users_path = FOLDER / "users.parquet"
    users = read_table(users_path, "training_set") if users_path.exists() else None
    items = read_table(Path("data/prepared/items.parquet"), "prepare")
    generator.fit(interactions, users=users, items=items, log=show)
    with whole_directory(Path("models/generators") / name) as draft:
        generator.save(draft)
        table = pl.DataFrame(curve) if curve else pl.DataFrame(schema={"step": pl.Int64})
        write_text(draft / "curve.csv", table.write_csv())


if __name__ == "__main__":
    run(main)
