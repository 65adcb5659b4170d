"""The project's own settings: what params.yaml overrides; the classes hold the defaults."""

from __future__ import annotations

from typing import Any, TypeVar

from augrec.core.config import BaseConfig, parse, read_params
from benchmarks.environments import HERE

PARAMS = read_params(HERE.parent)
C = TypeVar("C", bound=BaseConfig)


def overrides(*path: str) -> dict[str, Any]:
    """The section at a path, e.g. ("recommenders", "ease"); {} where params.yaml has none."""
    found: Any = PARAMS
    for name in path:
        found = (found or {}).get(name)
    return dict(found or {})


def config(kind: type[C], *path: str) -> C:
    """A section as its typed config."""
    return parse(kind, overrides(*path), ".".join(path))
