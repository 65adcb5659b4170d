"""Draw synthetic users: models/generators/<generator> -> data/synthetic/<generator>."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field

from augrec.data.columns import Columns as C
from augrec.data.config import Section, parse
from augrec.files import whole_directory, write_json, write_parquet
from augrec.generators import base as generators
from augrec.seeds import derive
from augrec.stages._training_set import read_training_interactions
from augrec.stages.runner import read_params, run

log = logging.getLogger(__name__)


class SynthesisConfig(Section):
    """The section `synthesis` of params.yaml."""

    ratio: float = Field(1.0, gt=0.0)
    """Synthetic users for each real training user."""


def main(name: str) -> None:
    """Draw a sample from the trained generator called `name`."""
    params = read_params()
    config = parse(SynthesisConfig, params.get("synthesis") or {}, "synthesis")
    n_real = read_training_interactions()[C.USER].n_unique()
    generator = generators.load(Path("models/generators") / name)
    seed = derive(params["seed"], "synthesize", name)
    sample = generator.sample(max(1, round(config.ratio * n_real)), seed=seed)
    facts = {
        "generator": name,
        "seed": seed,
        "n_real_users": n_real,
        "n_users": sample[C.USER].n_unique(),
        "n_items": sample[C.ITEM].n_unique(),
        "n_interactions": len(sample),
    }
    with whole_directory(Path("data/synthetic") / name) as draft:
        write_parquet(draft / "interactions.parquet", sample)
        if (realness := generator.realness(sample)) is not None:
            write_parquet(draft / "realness.parquet", realness)
        write_json(draft / "sample.json", facts)
    log.info(
        "%s: %d users, %d interactions, %d items",
        name,
        facts["n_users"],
        facts["n_interactions"],
        facts["n_items"],
    )


if __name__ == "__main__":
    run(main)
