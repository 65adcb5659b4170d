"""Draw synthetic users: models/generators/<generator> -> data/synthetic/<generator>.

users.parquet holds their attributes, where the generator learnt any. A generator that can extend
histories also extends short ones of training users: extensions.parquet, rows under the ids of real
users, for policies of this platform alone.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import get_args

import polars as pl

from augrec.core.config import parse, read_params, section
from augrec.core.files import whole_directory, write_json, write_parquet
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.generators import base as generators
from augrec.stages import _left_out
from augrec.stages._configs import ExtensionsConfig, SynthesisConfig
from augrec.stages._inputs import read_training_interactions
from augrec.stages.runner import run

log = logging.getLogger(__name__)


def main(name: str) -> None:
    """Draw a sample from the trained generator called `name`."""
    model, target = Path("models/generators") / name, Path("data/synthetic") / name
    if _left_out.passed_on(_left_out.read(model), target):
        return
    params = read_params()
    config = parse(SynthesisConfig, section(params, "synthesis"), "synthesis")
    real = read_training_interactions()
    n_real = real[C.USER].n_unique()
    generator = generators.load(model)
    seed = derive(params["seed"], "synthesize", name)
    for asked in config.condition:
        generators.find(asked)  # refuses a name that no generator has
    n, condition = max(1, round(config.ratio * n_real)), config.condition.get(name, {})
    sample = generator.sample(n, condition=condition, seed=seed)
    users = generator.attributes(n, condition=condition, seed=seed)
    extensions = _extend(generator, real, config.extensions, seed)
    facts = {
        "generator": name,
        "seed": seed,
        "condition": condition,
        "n_real_users": n_real,
        "n_users": sample[C.USER].n_unique(),
        "n_items": sample[C.ITEM].n_unique(),
        "n_interactions": len(sample),
        "n_extended_users": 0 if extensions is None else extensions[C.USER].n_unique(),
        **generator.facts(),
    }
    with whole_directory(target) as draft:
        write_parquet(draft / "interactions.parquet", sample)
        if users is not None:
            write_parquet(draft / "users.parquet", users)
        if (realness := generator.realness(sample)) is not None:
            write_parquet(draft / "realness.parquet", realness)
        if extensions is not None:
            write_parquet(draft / f"{generators.EXTENSIONS}.parquet", extensions)
        write_json(draft / "sample.json", facts)
    log.info(
        "%s: %d users, %d interactions, %d items",
        name,
        facts["n_users"],
        facts["n_interactions"],
        facts["n_items"],
    )


def _extend(
    generator: generators.Generator, real: pl.DataFrame, config: ExtensionsConfig, seed: int
) -> pl.DataFrame | None:
    """Rows before and after the histories of training users with few items; None: the generator
    draws none."""
    if not config.items:
        return None
    short = real.filter(pl.col(C.ITEM).n_unique().over(C.USER) <= config.max_length)
    parts = []
    for direction in get_args(generators.Direction):
        rows = generator.extend(short, n=config.items, direction=direction, seed=seed)
        if rows is not None:
            number = pl.int_range(pl.len()) + 1
            place = (number.reverse() if direction == "left" else number).over(C.USER)
            parts.append(
                rows.with_columns(
                    pl.lit(direction).alias(generators.DIRECTION), place.alias(generators.PLACE)
                )
            )
    return pl.concat(parts) if parts else None


if __name__ == "__main__":
    run(main)
