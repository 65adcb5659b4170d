"""The stages of dvc.yaml and how they depend on each other, read as text: cheap enough for every
parse of a DAG."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from augrec.core.errors import ConfigError


@dataclass(frozen=True)
class StageSpec:
    """One entry of dvc.yaml.

    Attributes:
        name: its key; members of a matrix are called "name@member".
        description: its `desc`.
        matrix: what it is a matrix over, e.g. ["recommender", "policy"]; only a run's own
            parameters decide its members.
        group: the group of tasks that it is shown in; from `meta`.
        work: the kind of work that it is, from `meta`: "project", "cheap", "training" or "gpu"; see
            `augrec.orchestration.placement`.
        upstream: names of the stages whose outputs it reads.
    """

    name: str
    description: str
    matrix: list[str]
    group: str
    work: str = "cheap"
    upstream: list[str] = field(default_factory=list)


def read_pipeline(dvc_yaml: Path) -> list[StageSpec]:
    """The stages of a dvc.yaml, in file order.

    Raises:
        ConfigError: the file is missing or has no stages.
    """
    try:
        stages: dict[str, Any] = yaml.safe_load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(
            f"dvc.yaml cannot be read: {error}", where=str(dvc_yaml), fix="run `dvc dag` there"
        ) from error
    outputs = {name: _paths(stage, "outs", "metrics", "plots") for name, stage in stages.items()}
    return [
        StageSpec(
            name=name,
            description=stage.get("desc", ""),
            matrix=list(stage.get("matrix", {})),
            group=(stage.get("meta") or {}).get("group", "stages"),
            work=(stage.get("meta") or {}).get("work", "cheap"),
            upstream=[
                other
                for other, outs in outputs.items()
                if other != name
                and any(_overlap(dep, out) for dep in _paths(stage, "deps") for out in outs)
            ],
        )
        for name, stage in stages.items()
    ]


def _paths(stage: dict[str, Any], *keys: str) -> list[str]:
    entries = [entry for key in keys for entry in stage.get(key) or []]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _overlap(one: str, other: str) -> bool:
    """Whether one path contains the other; a `${…}` part stands for any name with the same
    suffix."""
    pairs = zip(PurePosixPath(one).parts, PurePosixPath(other).parts, strict=False)
    return all(_suffix(a) == _suffix(b) if "${" in a or "${" in b else a == b for a, b in pairs)


def _suffix(part: str) -> str:
    return PurePosixPath(re.sub(r"\$\{[^}]*\}", "name", part)).suffix
