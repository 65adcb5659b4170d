"""Configuration: the base of every typed config, the one reader of params.yaml, and the one text
for what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from augrec.core.errors import ConfigError

PARAMS = "params.yaml"
AUTO: Final = "auto"
Auto = Literal["auto"]
"""In the type of a setting that a rule decides from the data, unless a value is given; see
`augrec.core.component.Component.rules`."""


class BaseConfig(BaseModel):
    """Base of every config: unknown keys and numbers that are not finite are refused, values are
    checked, nothing changes later.

    Attributes:
        renamed: old names of keys and their new ones; an old name is refused with the new one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, values: Any) -> Any:
        old = [key for key in cls.renamed if isinstance(values, Mapping) and key in values]
        if old:
            raise ValueError("; ".join(f"{key} is called {cls.renamed[key]} now" for key in old))
        return values


B = TypeVar("B", bound=BaseConfig)


def parse(config: type[B], values: Mapping[str, Any] | None, where: str) -> B:
    """Check values that a person wrote.

    Args:
        config: the config class.
        values: what params.yaml holds there; None: the defaults.
        where: the dotted name of the section, e.g. "prepare.split"; part of every message.

    Raises:
        ConfigError: naming every key that is unknown or has an impossible value, and what to write
            instead.
    """
    if not isinstance(values, Mapping | None):
        raise not_a_section(where, values)
    try:
        return config.model_validate(dict(values or {}))
    except ValidationError as error:
        problems, fixes = [], []
        for one in error.errors():
            place = [str(part) for part in one["loc"]]
            dotted = ".".join((where, *place))
            if one["type"] == "extra_forbidden":
                problems.append(f"there is no key {dotted}")
                fixes.append(closest(place[-1], _keys(config, place[:-1])))
            else:
                problems.append(f"{dotted}: {one['msg'].removeprefix('Value error, ')}")
        fixes = fixes or [f"`augrec config {where}` prints each key and what it takes"]
        raise ConfigError(
            "; ".join(problems),
            where=f"{PARAMS}, {where}",
            fix="; ".join(dict.fromkeys(fixes)),
        ) from error


def closest(name: str, known: Iterable[str]) -> str:
    """What to write in place of a name that does not exist: the most similar one, or any of those
    there are."""
    names = list(known)
    similar = get_close_matches(name, names, n=1)
    hint = f"did you mean {similar[0]}? " if similar else ""
    return f"{hint}known: {', '.join(names) or 'none'}"


def section(params: Mapping[str, Any], dotted: str) -> dict[str, Any]:
    """A section of params.yaml by its dotted name, e.g. "recommenders.ease"; {} where it is absent
    or empty: all defaults.

    Raises:
        ConfigError: what stands there holds no keys.
    """
    found: Any = params
    for name in dotted.split("."):
        found = found.get(name)
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise not_a_section(dotted, found)
    return dict(found)


def not_a_section(where: str, value: object) -> ConfigError:
    """The error for a value that stands where keys are expected."""
    return ConfigError(
        f"{value!r} stands where keys and values are expected",
        where=f"{PARAMS}, {where}",
        fix="write one `key: value` a line below it, or remove the section to take the defaults",
    )


def read_params(folder: Path = Path()) -> dict[str, Any]:
    """The params.yaml of a folder, by default the working directory.

    Raises:
        ConfigError: there is none, or it is not a YAML mapping.
    """
    return read_yaml(folder / PARAMS)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of keys and values.

    Raises:
        ConfigError: it is missing, or not a YAML mapping; the line is named.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"there is no {path.name} here",
            where=str(path.parent.resolve()),
            fix="go to the project's root, or restore the file from git",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"{path.name} cannot be read: {getattr(error, 'problem', None) or error}",
            where=str(path) + (f", line {mark.line + 1}" if mark else ""),
            fix="correct that line; `git diff` shows what was changed last",
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path.name} holds no keys", where=str(path), fix="restore it from git")
    return found


def _keys(config: type[BaseModel], place: list[str]) -> list[str]:
    """The keys there are at a place inside a config; those of the config itself where the place is
    no config of its own."""
    for name in place:
        field = config.model_fields.get(name)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return list(config.model_fields)
        config = kind
    return list(config.model_fields)
