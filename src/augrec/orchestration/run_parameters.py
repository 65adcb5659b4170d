"""What one run may set differently from params.yaml: the fields of the trigger form and of
`augrec run --param`. Airflow is not needed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augrec.core.config import AUTO, PARAMS, closest
from augrec.core.errors import ConfigError

KEYS: Final = {
    "data_start": "data.window.start",
    "data_end": "data.window.end",
    "generators": "run.generators",
    "policies": "run.policies",
    "recommenders": "run.recommenders",
    "repetitions": "run.repetitions",
    "max_synthetic_ratio": "augmentation.max_ratio",
    "tuning_trials": "tuning.trials",
    "tuning_seconds": "tuning.seconds",
    "require_approval": "run.require_approval",
}
"""Form field -> key of params.yaml. `dry_run` is a field too, but of the run, not of
params.yaml."""
FIELDS: Final = (*KEYS, "dry_run")
LISTS: Final = ("generators", "policies", "recommenders")
"""The fields that hold several names, or `auto` alone."""
NONE: Final = "none"
"""What the form has for a run without generators, alone in the field: params.yaml has []."""


def overrides(conf: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What a run sets differently from params.yaml, as dotted keys.

    Args:
        conf: what the trigger sent. The form's own defaults take no part: Airflow read them from
            params.yaml some time ago.
        params: the project's params.yaml.

    Raises:
        ConfigError: an unknown field was sent, or params.yaml lacks a key.
    """
    for name in sorted(set(conf) - set(FIELDS)):
        raise ConfigError(
            f"unknown parameter: {name}",
            where="the trigger form of retrain",
            fix=closest(name, FIELDS),
        )
    given = {field: as_parameter(field, value) for field, value in conf.items()}
    return {
        key: given[field]
        for field, key in KEYS.items()
        if field in given and given[field] != value_at(params, key)
    }


def as_parameter(field: str, value: Any) -> Any:
    """What params.yaml holds for a field's value: a list of `auto` alone is `auto`, generators of
    `none` alone are [].

    Raises:
        ConfigError: one of these stands beside names.
    """
    if field not in LISTS or not isinstance(value, list):
        return value
    alone = {AUTO: AUTO, **({NONE: []} if field == "generators" else {})}
    for word, meaning in alone.items():
        if value == [word]:
            return meaning
        if word in value:
            raise ConfigError(
                f"{field} is {word} and names others too: {', '.join(map(str, value))}",
                where="the trigger form of retrain",
                fix=f"choose {word} alone, or the names alone; `augrec choose` prints what auto is "
                "here",
            )
    return value


def value_at(params: Mapping[str, Any], dotted: str) -> Any:
    """The value under a dotted key.

    Raises:
        ConfigError: params.yaml has no such key.
    """
    value: Any = params
    for name in dotted.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ConfigError(
                f"there is no {dotted}, which a run may set",
                where=PARAMS,
                fix=f"add it; `augrec config {dotted.partition('.')[0]}` prints the section's keys",
            )
        value = value[name]
    return value
