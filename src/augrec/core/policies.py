"""How params.yaml writes a policy: a list of operations, or `steps` with a `description`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PARTS = {"description", "steps"}


def steps_of(definition: Any) -> Any:
    """A policy's operations, unchecked: `[{operation: {option: value}}, …]`; [] for none."""
    if isinstance(definition, Mapping) and set(definition) <= _PARTS:
        definition = definition.get("steps")
    return definition or []


def description_of(definition: Any) -> str:
    """What report, page, form and tables say of a policy: its description, or else the names of its
    operations."""
    if isinstance(definition, Mapping) and definition.get("description"):
        return str(definition["description"])
    names = [name for step in steps_of(definition) for name in step]
    return ", ".join(name.replace("_", " ") for name in names) or "the real data as it is"
