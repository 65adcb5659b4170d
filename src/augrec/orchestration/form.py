"""The trigger form of `retrain`: how it asks for the keys of params.yaml that a run may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk import Param

from augrec.core.component import available
from augrec.core.config import AUTO
from augrec.core.policies import description_of
from augrec.orchestration.run_parameters import KEYS, NONE, value_at
from augrec.reporting.acceptance_words import measured_anywhere

# NaN is neither below a minimum nor above a maximum: only "not above the maximum" refuses it
_MAX_RATIO: Final = 10
_MAX_SECONDS: Final = 365 * 24 * 3600


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
            values["generators"] or [NONE],
            [NONE, *available("augrec.generators")],
            "Generators",
            "Models that make up synthetic users; a policy that uses one needs it here. `auto`: "
            "those that the policies use, or that suit the size of the data. `none`: the run "
            f"compares real data and placebos alone. {measured_anywhere()}; "
            "`augrec choose` says what that means for your data.",
            may_be_empty=True,
        ),
        "policies": _choice(
            values["policies"],
            list(params["policies"]),
            "Policies",
            "Ways to build the training set. Keep `none` and a placebo such as `bootstrap`: the "
            "gate accepts synthetic data only if it beats them. `auto`: real data, the placebos, "
            "and each generator's own.",
            {name: description_of(written) for name, written in params["policies"].items()},
        ),
        "recommenders": _choice(
            values["recommenders"],
            available("augrec.recommenders"),
            "Recommenders",
            "Each is trained on every policy; the best pair is registered. `auto`: those that suit "
            "the size of the data.",
        ),
        "repetitions": Param(
            values["repetitions"],
            type="integer",
            minimum=1,
            maximum=100,
            title="Repetitions",
            description_md="Trainings of each pair in which chance plays a part, so that luck does "
            "not pass for a gain. More take longer and show smaller gains.",
        ),
        "max_synthetic_ratio": Param(
            float(values["max_synthetic_ratio"]),
            type="number",
            minimum=0,
            maximum=_MAX_RATIO,
            allOf=[{"not": {"exclusiveMinimum": _MAX_RATIO}}],
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
            description_md="Configs tried for each recommender on each policy, compared on "
            "validation users; the best is kept. The first is the recommender's own. 0: no search. "
            "`augrec config NAME` prints what is searched.",
        ),
        "tuning_seconds": Param(
            values["tuning_seconds"],
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=_MAX_SECONDS,
            anyOf=[{"type": "null"}, {"not": {"exclusiveMinimum": _MAX_SECONDS}}],
            title="Tuning seconds",
            description_md="Ends each search after this time, whatever it has tried; a slower "
            "machine may then find another model. Empty: as long as it takes.",
        ),
    }


def _date(value: object, title: str, description: str) -> Param:
    return Param(
        None if value is None else str(value),
        type=["null", "string"],
        format="date",
        title=title,
        description_md=f"{description} Empty: all there is.",
    )


def _choice(
    chosen: list[str] | str,
    names: list[str],
    title: str,
    description: str,
    described: Mapping[str, str] | None = None,
    *,
    may_be_empty: bool = False,
) -> Param:
    """A field of names; the list to choose from shows what is `described` next to each."""
    shown = {name: f"{name}: {words}" for name, words in (described or {}).items()}
    choices = [AUTO, *names]
    options: dict[str, Any] = {"values_display": shown} if shown else {}
    return Param(
        [chosen] if isinstance(chosen, str) else chosen,
        **options,
        type="array",
        items={"type": "string", "enum": choices},
        examples=choices,
        minItems=0 if may_be_empty else 1,
        uniqueItems=True,
        title=title,
        description_md=description,
    )
