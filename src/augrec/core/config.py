"""Configuration: the base of every typed config, the one reader of params.yaml, and one text for what is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from augrec.core.errors import ConfigError

PARAMS = "params.yaml"


class BaseConfig(BaseModel):
    """Base of every config: unknown keys are refused, values are checked, nothing changes later.

    Attributes:
        renamed: old names of keys and their new ones; an old name is refused with the new one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, values: Any) -> Any:
        old = [key for key in cls.renamed if isinstance(values, Mapping) and key in values]
        if old:
            raise ValueError("; ".join(f"{key} is called {cls.renamed[key]} now" for key in old))
        return values


B = TypeVar("B", bound=BaseConfig)


def parse(config: type[B], values: Mapping[str, Any], where: str) -> B:
    """Check values that a person wrote.

    Args:
        config: the config class.
        values: what params.yaml holds there.
        where: the dotted name of the section, e.g. "prepare.split"; part of every message.

    Raises:
        ConfigError: naming every key that is unknown or has an impossible value, and the keys there
            are.
    """
    try:
        return config.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, (where, *e['loc'])))}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(
            problems,
            where=f"{PARAMS}, section {where}",
            fix=f"known keys: {', '.join(config.model_fields)}",
        ) from error


def read_params(folder: Path = Path()) -> dict[str, Any]:
    """The params.yaml of a folder, by default the working directory.

    Raises:
        ConfigError: there is none, or it is not a YAML mapping.
    """
    path = folder / PARAMS
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {PARAMS} here",
            where=str(folder.resolve()),
            fix="run stages from the project's root",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{PARAMS} is not valid YAML: {error}", where=str(path), fix="correct the line it names"
        ) from error
    if not isinstance(params, dict):
        raise ConfigError(f"{PARAMS} holds no sections", where=str(path), fix="restore it from git")
    return params
