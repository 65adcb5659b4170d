"""The trigger form of `retrain`: which keys of params.yaml one run may set, and how the form asks
for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import Param

from augrec.core.errors import ConfigError

KEYS = {
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


def read_params(home: Path) -> dict[str, Any]:
    """The project's params.yaml."""
    return yaml.safe_load((home / "params.yaml").read_text(encoding="utf-8"))


def fields(params: Mapping[str, Any]) -> dict[str, Param]:
    """The form, with the values of params.yaml filled in."""
    values = {field: value_at(params, key) for field, key in KEYS.items()}
    return {
        "data_start": _date(
            values["data_start"], "Data from", "First day whose interactions are used."
        ),
        "data_end": _date(
            values["data_end"],
            "Data until",
            "First day whose interactions are *not* used any more.",
        ),
        **_arms(values, params),
        **_search(values),
        "require_approval": Param(
            values["require_approval"],
            type="boolean",
            title="Wait for approval",
            description_md="Wait in *Required Actions* for a person before a new champion serves. "
            "No answer in a day means no.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Compute and report everything; register nothing, leave the online "
            "store and the champion alone.",
        ),
    }


def _arms(values: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Param]:
    """What is compared, and how carefully."""
    return {
        "generators": _choice(
            values["generators"],
            params["generators"],
            "Generators",
            "Models that make up synthetic users; a policy that uses one needs it here.",
        ),
        "policies": _choice(
            values["policies"],
            params["policies"],
            "Policies",
            "Ways to build the training set, each described under `policies` in params.yaml. Keep "
            "`none` and a "
            "placebo such as `bootstrap`: the gate accepts synthetic data only if it beats them.",
        ),
        "recommenders": _choice(
            values["recommenders"],
            params["recommenders"],
            "Recommenders",
            "Each is trained on every policy; the best pair is registered.",
        ),
        "repetitions": Param(
            values["repetitions"],
            type="integer",
            minimum=1,
            maximum=100,
            title="Repetitions",
            description_md="Trainings of each pair in which chance plays a part, so that luck does "
            "not pass for a gain. "
            "More take longer and show smaller gains.",
        ),
        "max_synthetic_ratio": Param(
            float(values["max_synthetic_ratio"]),
            type="number",
            minimum=0,
            maximum=10,
            title="Most synthetic users per real user",
            description_md="A policy that asks for more is cut down to this; 0 forbids synthetic "
            "users.",
        ),
    }


def _search(values: Mapping[str, Any]) -> dict[str, Param]:
    """How long settings are searched for."""
    return {
        "tuning_trials": Param(
            values["tuning_trials"],
            type="integer",
            minimum=0,
            maximum=1000,
            title="Tuning trials",
            description_md="Configs tried for each recommender on each policy, judged on "
            "validation users; the best is kept. "
            "The first is that of params.yaml. 0: no search. The spaces stand under `tuning` in "
            "params.yaml.",
        ),
        "tuning_seconds": Param(
            values["tuning_seconds"],
            type=["null", "number"],
            exclusiveMinimum=0,
            title="Tuning seconds",
            description_md="Ends each search after so long, whatever it has tried; a slower "
            "machine may then find another "
            "model. Empty: as long as it takes.",
        ),
    }


def overrides(
    values: Mapping[str, Any], conf: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """What a run sets differently from params.yaml, as dotted keys.

    Args:
        values: the form's values, defaults filled in.
        conf: what the trigger really sent, to catch keys the form does not have.
        params: the project's params.yaml.

    Raises:
        ConfigError: an unknown key was sent, or a placebo-free selection.
    """
    known = {*KEYS, "dry_run"}
    unknown = sorted(set(conf) - known)
    if unknown:
        raise ConfigError(
            f"unknown parameter: {', '.join(unknown)}",
            where="the trigger form of retrain",
            fix=f"known parameters: {', '.join(sorted(known))}",
        )
    return {
        key: values[field]
        for field, key in KEYS.items()
        if field in values and values[field] != value_at(params, key)
    }


def value_at(params: Mapping[str, Any], dotted: str) -> Any:
    """The value under a dotted key."""
    value: Any = params
    for name in dotted.split("."):
        value = value[name]
    return value


def _date(value: object, title: str, description: str) -> Param:
    return Param(
        None if value is None else str(value),
        type=["null", "string"],
        format="date",
        title=title,
        description_md=f"{description} Empty: all there is.",
    )


def _choice(chosen: list[str], known: Mapping[str, Any], title: str, description: str) -> Param:
    names = list(known)
    return Param(
        chosen,
        type="array",
        items={"type": "string", "enum": names},
        examples=names,
        minItems=1,
        uniqueItems=True,
        title=title,
        description_md=description,
    )
