"""The taste groups of the run, for the stages that ask which group a history belongs to."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.histories import Histories
from augrec.recommenders._taste.tastes import TASTE_GROUP, Tastes, TastesConfig
from augrec.recommenders.base import Recommender
from augrec.stages._configs import SynthesisConfig
from augrec.stages._inputs import TASTE_GROUPS


def read() -> Tastes | None:
    """The model of data/taste_groups; None where no groups are wanted."""
    folder = TASTE_GROUPS / "tastes"
    return Tastes.load(folder) if folder.is_dir() else None


def check_asked_for(
    config: TastesConfig, recommenders: Iterable[Recommender], synthesis: SynthesisConfig
) -> None:
    """Refuse what asks for taste groups in a run that makes none, or does not tell generators.

    Raises:
        ConfigError: naming who asks, and what to write.
    """
    asking = [one for one in recommenders if getattr(one.config, "group_by", None) == TASTE_GROUP]
    if asking and not config.numbers:
        raise ConfigError(
            f"{asking[0].name()} groups users by taste, and the run makes no taste groups",
            where="params.yaml, taste_groups.groups",
            fix="write `groups: 10` there",
        )
    for generator, condition in synthesis.condition.items():
        if TASTE_GROUP in condition and not (config.numbers and config.attribute):
            raise ConfigError(
                f"{generator} is asked for users of a taste group, of which it learns nothing",
                where="params.yaml, synthesis.condition",
                fix="write `groups: 10` and `attribute: true` under taste_groups",
            )


def with_groups(cases: pl.DataFrame, tastes: Tastes | None) -> pl.DataFrame:
    """Cases with the group that each history belongs to, "number: name", null where it is empty;
    unchanged without groups."""
    if tastes is None:
        return cases
    places, _ = tastes.places(Histories.from_lists(cases["history"], tastes.items))
    names = [
        f"{number}: {name}"
        for number, name in zip(tastes.numbers, tastes.groups.names, strict=True)
    ]
    told = [None if place < 0 else names[place] for place in places.tolist()]
    return cases.with_columns(pl.Series(TASTE_GROUP, told, pl.String))
