"""Trainings of one arm that differ by chance alone: what they are trained on, their seeds, and
where they lie.

Repetition 0 is the model that may be promoted. Further ones redraw everything random that comes
after the generator, the policy's draws and the recommender's, so that the gate can tell luck in
training from a gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.stages._inputs import read_table

MODELS = Path("models/repetitions")
"""Of models: <recommender>/<policy>/<number>, from 1 on."""


def count(params: Mapping[str, Any]) -> int:
    """How often each arm is trained: `run.repetitions`.

    Raises:
        ConfigError: it is no whole number of at least 1.
    """
    found = (params.get("run") or {}).get("repetitions", 1)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ConfigError(
            f"{found!r} is no number of trainings",
            where="params.yaml, run.repetitions",
            fix="give 1 or more; with 1 luck in training passes for a gain",
        )
    return found


def seed_of(seed: int, number: int, *names: str) -> int:
    """The seed of a repetition; that of repetition 0 is the one there is without repetitions."""
    return derive(seed, *names, number) if number else derive(seed, *names)


def rows_file(training_set: Path, number: int) -> Path:
    """Where the rows of a repetition lie below data/augmented/<policy>, if its policy draws
    anything."""
    return training_set / (f"repetitions/{number}.parquet" if number else "interactions.parquet")


def read_rows(training_set: Path, number: int) -> pl.DataFrame | None:
    """What a repetition is trained on; None: what repetition 0 is."""
    path = rows_file(training_set, number)
    return read_table(path, "augment") if path.exists() or not number else None


def models(recommender: str, policy: str) -> list[Path]:
    """The models of repetitions 1, 2, … that were trained; none where nothing is random."""
    folder = MODELS / recommender / policy
    return sorted((path for path in folder.glob("[0-9]*")), key=lambda path: int(path.name))
