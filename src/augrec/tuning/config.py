"""`tuning` of params.yaml, and what is searched of each recommender. Optuna is not needed here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from augrec.core.config import AUTO, BaseConfig, parse
from augrec.core.errors import ConfigError
from augrec.data.ranking import read_metric
from augrec.recommenders.base import Recommender
from augrec.tuning.presets import PRESETS


class TuningConfig(BaseConfig):
    """How long to search, by what, and where."""

    trials: int = Field(0, ge=0)
    """Configs tried for each recommender on each policy; 0: no search."""
    seconds: float | None = Field(None, gt=0)
    """A search starts no trial later than this and stops the one that runs then; the first trial
    always ends. Which trials end in time depends on the machine. null: no limit."""
    metric: str = "ndcg@10"
    """Maximised on validation users: ndcg, recall, precision, f1, hit_rate, mrr or map at any
    cutoff. Checkpoints are chosen by it, too, with or without a search."""
    pruning: bool = True
    """Stop a trial early when its training curve runs below the median of those before it."""
    spaces: dict[str, dict[str, Any]] = {}
    """{recommender: {config key: a list of choices, or {low, high, log}}} in place of the class's
    `search_space`; {}: that recommender is not searched."""
    regularisation: dict[str, dict[str, list[Any]]] = {}
    """{recommender: {config key: values}} in place of the class's `regularisation`; {}: only the
    recommender's own values are tried. "x4" is four times the recommender's own value."""
    presets: dict[str, dict[str, dict[str, Any]]] = {}
    """{preset: {recommender: {config key: value}}}: tried right after the recommender's own values,
    in addition to those of `augrec.tuning.presets`."""

    @field_validator("metric")
    @classmethod
    def _can_be_chosen_by(cls, metric: str) -> str:
        read_metric(metric)
        return metric


class Range(BaseConfig):
    """Every number from low to high; in equal steps of the logarithm with `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Dimension:
    """One config key that is searched.

    Attributes:
        name: the key.
        range: between which numbers; None: among `choices`.
        choices: the values there are; empty with a range.
        whole: whether only whole numbers are meant.
    """

    name: str
    range: Range | None
    choices: tuple[Any, ...] = ()
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        if self.range is None:
            return value in self.choices
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.range.low <= value <= self.range.high

    @property
    def words(self) -> str:
        """As params.yaml has it."""
        return (
            str(list(self.choices))
            if self.range is None
            else f"[{self.range.low:g}, {self.range.high:g}]"
        )


Space = Mapping[str, Dimension]


def space_of(config: TuningConfig, kind: type[Recommender]) -> dict[str, Dimension]:
    """What is searched of a recommender: what params.yaml says, else what its class says.

    Raises:
        ConfigError: a key is not one of the recommender's, or it refuses a bound or choice.
    """
    found = {}
    for key, values in config.spaces.get(kind.name(), kind.search_space).items():
        where = f"tuning.spaces.{kind.name()}.{key}"
        _known(key, kind, where)
        found[key] = _dimension(key, values, kind.Config, where)
    return found


def grid_of(config: TuningConfig, own: Recommender) -> dict[str, Dimension]:
    """The short grid that an arm's regularisation is chosen from where nothing is searched: the
    recommender's own values first.

    More rows want less regularisation, so an arm that keeps the values of another is not judged by
    what its data can do.

    Args:
        config: may replace the grid of the class.
        own: a recommender with its own values; it need not be fitted. What is "auto" in its config
            is not known yet: its multiples stay as they are written.

    Raises:
        ConfigError: a key is not one of the recommender's, or it refuses a value.
    """
    kind, found = type(own), {}
    for key, values in config.regularisation.get(own.name(), kind.regularisation).items():
        where = f"tuning.regularisation.{own.name()}.{key}"
        _known(key, kind, where)
        mine = getattr(own.config, key)
        if mine == AUTO:
            alone = [value for value in values if _multiple(value) is None]
            _dimension(key, [mine, *alone], kind.Config, where)
            found[key] = Dimension(key, None, (mine, *values))
            continue
        choices = [one if (by := _multiple(one)) is None else _scaled(mine, by) for one in values]
        found[key] = _dimension(key, [mine, *choices], kind.Config, where)
    return found


def _multiple(value: Any) -> float | None:
    """4.0 of "x4"; None: it is a value of its own."""
    found = re.fullmatch(r"x(\d+(\.\d+)?)", value) if isinstance(value, str) else None
    return None if found is None else float(found[1])


def _scaled(value: float, by: float) -> float:
    """The multiple, with three digits: it is read by people."""
    return float(f"{value * by:.3g}")


def starting_points(config: TuningConfig, own: Recommender, space: Space) -> list[dict[str, Any]]:
    """The values that are tried before any search: the recommender's own, then each preset's, none
    of them twice.

    A preset of `augrec.tuning.presets` that the space does not hold is left out; one of params.yaml
    must lie in it.

    Args:
        config: may name presets.
        own: a recommender with its own values; it need not be fitted.
        space: what is searched.

    Raises:
        ConfigError: a value lies outside its space, or a preset of params.yaml names a key that is
            not searched.
    """
    kind, mine = type(own), {key: getattr(own.config, key) for key in space}
    _inside(mine, space, f"recommenders.{kind.name()}")
    found = [mine]
    for preset, values in presets_of(config, kind, space).items():
        point = mine | _searched(values, space, kind, f"tuning.presets.{preset}.{kind.name()}")
        if point not in found:
            found.append(point)
    return found


def presets_of(
    config: TuningConfig, kind: type[Recommender], space: Space
) -> dict[str, dict[str, Any]]:
    """{preset: {config key: value}} for a recommender: those of params.yaml as they are, and those
    of `augrec.tuning.presets` that its space holds."""
    name, found = kind.name(), {}
    for preset in dict.fromkeys([*PRESETS, *config.presets]):
        given = config.presets.get(preset, {}).get(name)
        known = PRESETS.get(preset, {}).get(name, {})
        values = {key: value for key, value in known.items() if key in space}
        if given is not None:
            found[preset] = dict(given)
        elif values and all(space[key].holds(value) for key, value in values.items()):
            found[preset] = values
    return found


def _searched(
    values: Mapping[str, Any], space: Space, kind: type[Recommender], where: str
) -> dict[str, Any]:
    """Those values of a preset in params.yaml that are searched."""
    for key in values.keys() - space.keys():
        _known(key, kind, where)
        if key not in kind.architecture:  # a model that is continued keeps its own
            raise ConfigError(
                f"{key} is not searched",
                where=f"params.yaml, {where}",
                fix=f"add it to tuning.spaces.{kind.name()}, or leave it out here",
            )
    found = {key: value for key, value in values.items() if key in space}
    _inside(found, space, where)
    return found


def _dimension(key: str, values: Any, config: type[BaseConfig], where: str) -> Dimension:
    if isinstance(values, list) and values:
        for value in values:
            _accepted(config, key, value, where)
        return Dimension(key, None, tuple(dict.fromkeys(values)))
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{values!r} is no space",
            where=f"params.yaml, {where}",
            fix="give a list of values, or {low: …, high: …, log: true}",
        )
    bounds = parse(Range, values, where)
    kinds = _types(config.model_fields[key].annotation)
    whole = int in kinds and float not in kinds
    if bounds.low > bounds.high or (bounds.log and bounds.low <= 0):
        raise ConfigError(
            "low must not lie above high, and must be above 0 with log: true",
            where=f"params.yaml, {where}",
            fix="correct the bounds",
        )
    if whole and (bounds.low % 1 or bounds.high % 1):
        raise ConfigError(
            f"{key} is a whole number", where=f"params.yaml, {where}", fix="give whole bounds"
        )
    for bound in (bounds.low, bounds.high):
        _accepted(config, key, int(bound) if whole else bound, where)
    return Dimension(key, bounds, whole=whole)


def _types(annotation: Any) -> set[Any]:
    """The types of which a value may be: int and NoneType of `Annotated[int, …] | None`."""
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _types(inner[0])
    return {annotation}.union(*map(_types, inner)) if inner else {annotation}


def _known(key: str, kind: type[Recommender], where: str) -> None:
    if key not in kind.Config.model_fields:
        raise ConfigError(
            f"{kind.name()} has no option {key!r}",
            where=f"params.yaml, {where}",
            fix=f"known keys: {', '.join(kind.Config.model_fields)}",
        )


def _accepted(config: type[BaseConfig], key: str, value: Any, where: str) -> None:
    """Refuse what the recommender's own config would refuse, hours before it is tried."""
    try:
        TypeAdapter(config.model_fields[key].rebuild_annotation()).validate_python(value)
    except ValidationError as error:
        raise ConfigError(
            f"{key} cannot be {value!r}: {error.errors()[0]['msg']}",
            where=f"params.yaml, {where}",
            fix=f"`augrec config {where.split('.')[2]}` prints what it takes",
        ) from error


def _inside(values: Mapping[str, Any], space: Space, where: str) -> None:
    for key, value in values.items():
        if value != AUTO and not space[key].holds(value):
            raise ConfigError(
                f"{key}: {value!r} lies outside {space[key].words}, where it is searched",
                where=f"params.yaml, {where}",
                fix="set a wider space under tuning.spaces, or take another value",
            )
