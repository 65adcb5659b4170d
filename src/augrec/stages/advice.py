"""What is known before a run of whether its generated data will pass the gate; see
`augrec.evaluation.acceptance`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from augrec.core.config import read_params, section
from augrec.core.data_shape import DataShape
from augrec.core.errors import InputError
from augrec.evaluation.acceptance import acceptance, training_seconds
from augrec.generators import base as generators
from augrec.reporting.acceptance_words import before_training
from augrec.stages import planning
from augrec.stages.auto import Choice, raw_shape

ADVICE: Final = "run.advice"


def check(home: Path, overrides: Mapping[str, Any] | None = None) -> Choice:
    """`augrec.stages.planning.check`, and what is known beforehand of the run's generated data: one
    more sentence, and a value for `run.advice`."""
    choice = planning.check(home, overrides)
    params = planning.overridden(read_params(home), {**(overrides or {}), **choice.values})
    known = advice(params, home / "data/raw", choice.shape)
    new = {} if known == section(params, "run").get("advice") else {ADVICE: known}
    said = [*choice.sentences, *([known] if known else [])]
    return replace(choice, values=choice.values | new, sentences=said)


def advice(params: Mapping[str, Any], raw: Path, shape: DataShape | None = None) -> str | None:
    """What to expect of the generators of a run; None: it has none, or there is no data yet.

    Args:
        params: params.yaml with plain lists under `run`, and valid.
        raw: data/raw.
        shape: of the raw data, where it is known.
    """
    named = section(params, "run").get("generators") or []
    if not named:
        return None
    try:
        shape = shape or raw_shape(raw, section(params, "data.window"))
    except InputError:
        return None
    if not shape.n_interactions:
        return None
    seconds = {name: _seconds(name, section(params, f"generators.{name}"), shape) for name in named}
    found = acceptance(shape.n_users, shape.n_items, shape.n_interactions)
    return before_training(found, seconds)


def _seconds(name: str, config: Mapping[str, Any], shape: DataShape) -> float | None:
    generator = generators.find(name)(config)
    generator.settle(shape)
    steps = getattr(generator.config, "steps", None)
    return None if steps is None else training_seconds(name, steps, shape.n_items)
