"""What can be checked of a run before it begins, without its data; and what each of its components
is configured with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from augrec.augmentation.base import Policy
from augrec.augmentation.search import find_search
from augrec.core.component import Configured, available
from augrec.core.config import (
    AUTO,
    PARAMS,
    BaseConfig,
    closest,
    not_a_section,
    parse,
    read_params,
    read_yaml,
    section,
)
from augrec.core.errors import AugrecError, ConfigError
from augrec.core.policies import steps_of
from augrec.data.ranking import read_metric
from augrec.generators import base as generators_
from augrec.generators.base import Generator
from augrec.recommenders import base as recommenders_
from augrec.recommenders._taste.tastes import TastesConfig
from augrec.recommenders.base import Recommender
from augrec.stages._configs import RunConfig, SynthesisConfig
from augrec.stages._sections import SECTIONS, top_level
from augrec.stages._tastes import check_asked_for
from augrec.stages.auto import KEYS, Choice, choose
from augrec.tuning.config import TuningConfig, grid_of, presets_of, space_of, starting_points

Resolved = dict[str, dict[str, Any]]
"""{name of a component: what it is configured with, as JSON has it}."""
_FIND: Final[dict[str, Any]] = {
    "generators": generators_.find,
    "recommenders": recommenders_.find,
}


def check(home: Path, overrides: Mapping[str, Any] | None = None) -> Choice:
    """Refuse what cannot run, before anything is trained.

    Only the modules of the components that take part are imported.

    Args:
        home: the project, with params.yaml and dvc.yaml.
        overrides: dotted keys of params.yaml and what the run sets instead.

    Returns:
        What `auto` stands for on the project's raw data; a run overrides these keys too.

    Raises:
        ConfigError: naming the file, the section and what to write there.
        InputError: something is `auto`, and there is no raw data to choose by.
    """
    params = overridden(read_params(home), overrides or {})
    _declared(home / "dvc.yaml", params)
    choice = choose(params, home / "data/raw")
    resolve(overridden(params, choice.values))
    return choice


def overridden(params: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """params.yaml with other values under dotted keys."""
    changed = deepcopy(dict(params))
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        place = changed
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return changed


def resolve(params: Mapping[str, Any]) -> dict[str, Resolved]:
    """The whole config of each generator and recommender of the run, all of params.yaml checked.

    Returns:
        {"generators": {name: {"config": …}}, "recommenders": {name: {"config": …, "search_space":
        …, "regularisation": …, "presets": …}}}.

    Raises:
        ConfigError: naming the section and what to write there.
    """
    configs = _sections(params)
    run, tuning, synthesis = configs["run"], configs["tuning"], configs["synthesis"]
    assert isinstance(run, RunConfig)
    assert isinstance(tuning, TuningConfig)
    assert isinstance(synthesis, SynthesisConfig)
    tastes = configs["taste_groups"]
    assert isinstance(tastes, TastesConfig)
    for key in KEYS:
        if getattr(run, key) == AUTO:
            raise ConfigError(
                f"run.{key} is auto, and nothing has been chosen yet",
                where=f"{PARAMS}, run.{key}",
                fix="`augrec run` chooses when a run begins; for stages by hand, `augrec choose "
                "--write` writes the names here",
            )
    made = {name: _build("generators", name, params) for name in run.generators}
    trained = {name: _build("recommenders", name, params) for name in run.recommenders}
    _policies(params, run, made, configs)
    _named_components(configs)
    check_asked_for(tastes, trained.values(), synthesis)
    return {
        "generators": {name: {"config": dump(one)} for name, one in made.items()},
        "recommenders": {name: tuned(one, tuning) for name, one in trained.items()},
    }


def dump(component_: Configured) -> dict[str, Any]:
    """Every key of a component's config, as JSON has it."""
    return dict(component_.config.model_dump(mode="json"))


def _sections(params: Mapping[str, Any]) -> dict[str, BaseConfig]:
    """Every section but those of components and policies, parsed."""
    for name in params:
        if name not in top_level():
            raise ConfigError(
                f"there is no section {name!r}", where=PARAMS, fix=closest(name, top_level())
            )
    seed = params.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(
            f"the seed cannot be {seed!r}", where=f"{PARAMS}, seed", fix="write `seed: 1`"
        )
    if not section(params, "run"):
        raise ConfigError(
            "nothing says what takes part in a run",
            where=PARAMS,
            fix="add the section `run` with lists of generators, policies and recommenders",
        )
    return {name: parse(config, section(params, name), name) for name, config in SECTIONS.items()}


def _build(room: str, name: str, params: Mapping[str, Any]) -> Any:
    """A component of the run with its config; the section of a component that does not exist is
    refused too."""
    for other in section(params, room):
        _exists(room, other, room)
    return _instance(room, name, section(params, f"{room}.{name}"), f"run.{room}")


def _exists(room: str, name: str, where: str) -> None:
    known = available(f"augrec.{room}")
    if name not in known:
        raise ConfigError(
            f"there is no {room.removesuffix('s')} called {name!r}",
            where=f"{PARAMS}, {where}",
            fix=f"{closest(name, known)}; a new one is a file src/augrec/{room}/{name}.py",
        )


def _instance(room: str, name: str, config: Mapping[str, Any], where: str) -> Any:
    """A component that `where` in params.yaml names."""
    _exists(room, name, where)
    try:
        return _FIND[room](name)(config)
    except AugrecError:
        raise
    except Exception as error:  # whatever its author wrote there
        file = f"src/augrec/{room}/{name}.py"
        raise ConfigError(
            f"{file} cannot be used: {type(error).__name__}: {error}",
            where=file,
            fix=f"correct it; `pytest tests/contract -k {name}` tests it",
        ) from error


def tuned(own: Recommender, tuning: TuningConfig) -> dict[str, Any]:
    """What the stage `train` needs to know of a recommender."""
    kind, name = type(own), own.name()
    space = space_of(tuning, kind)
    grid_of(tuning, own)
    if tuning.trials:
        starting_points(tuning, own, space)
    return {
        "config": dump(own),
        "search_space": dict(tuning.spaces.get(name, kind.search_space)),
        "regularisation": dict(tuning.regularisation.get(name, kind.regularisation)),
        "presets": presets_of(tuning, kind, space),
    }


def _policies(
    params: Mapping[str, Any],
    run: RunConfig,
    generators: Mapping[str, Generator],
    configs: Mapping[str, BaseConfig],
) -> None:
    """Build every policy of the run, and see that the others can give it what it uses."""
    described = section(params, "policies")
    built = []
    for name in run.policies:
        if name not in described:
            raise ConfigError(
                f"there is no policy called {name!r}",
                where=f"{PARAMS}, run.policies",
                fix=f"{closest(name, described)}; a new one is a line `{name}:` under policies "
                "with its steps below it",
            )
        policy = Policy(name, _steps(name, described[name]), seed=0)
        for generator in policy.generators:
            if generator not in run.generators:
                raise ConfigError(
                    f"the policy {name} uses the generator {generator!r}, which takes no part in "
                    "this run",
                    where=f"{PARAMS}, run.generators",
                    fix=f"add `- {generator}` to run.generators, or take {name} out of "
                    "run.policies",
                )
        find_search(policy)
        _operations(policy, generators, configs)
        built.append(policy)
    if all(policy.kind == "generated" for policy in built):
        raise ConfigError(
            "there is no policy without generated data to compare with",
            where=f"{PARAMS}, run.policies",
            fix="add `- none`, and a placebo such as `- bootstrap`, to run.policies",
        )


def _steps(name: str, definition: Any) -> list[dict[str, Any]]:
    where, steps = f"policies.{name}", steps_of(definition)
    if not isinstance(steps, list):
        raise not_a_list(where, steps)
    for place, step in enumerate(steps):
        if not isinstance(step, Mapping):
            raise not_a_section(f"{where}[{place}]", step)
    return steps


def not_a_list(where: str, value: object) -> ConfigError:
    """The error for a policy that is no list of operations."""
    return ConfigError(
        f"{value!r} stands where a list of operations is expected",
        where=f"{PARAMS}, {where}",
        fix="write one `- operation: {option: value}` a line, or [] for none; or `steps` with such "
        "a list and a `description`",
    )


def _operations(
    policy: Policy, generators: Mapping[str, Generator], configs: Mapping[str, BaseConfig]
) -> None:
    """What operations name in their options: recommenders, a metric, a generator that extends."""
    for place, operation in enumerate(policy.operations):
        where = f"policies.{policy.name}[{place}]"
        options = operation.config
        for name, config in _recommenders(options):
            _instance("recommenders", name, config, where)
        if operation.name() == "search":
            read_metric(options.metric, f"{PARAMS}, {where}")
        if operation.name() == "extend" and options.items and options.weight:
            generator = type(generators[options.sample])
            if generator.extend is Generator.extend:
                raise ConfigError(
                    f"{options.sample} does not extend histories",
                    where=f"{PARAMS}, {where}",
                    fix="name a generator that does, such as sequence_gan",
                )
            if not configs["synthesis"].extensions.items:  # type: ignore[attr-defined]
                raise ConfigError(
                    f"the policy {policy.name} needs extensions, and none are written",
                    where=f"{PARAMS}, synthesis.extensions.items",
                    fix="write `items: 10` there",
                )


def _recommenders(options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    named = getattr(options, "recommender", None)
    if isinstance(named, Mapping):
        for name, config in named.items():
            yield name, dict(config or {})


def _named_components(configs: Mapping[str, Any]) -> None:
    """What the sections name: a protocol, generators, recommenders, metrics."""
    protocol, protocols = configs["prepare"].split.protocol, available("augrec.data.protocols")
    if protocol not in protocols:
        raise ConfigError(
            f"there is no protocol called {protocol!r}",
            where=f"{PARAMS}, prepare.split.protocol",
            fix=closest(protocol, protocols),
        )
    for name in configs["synthesis"].condition:
        _exists("generators", name, "synthesis.condition")
    utility = configs["audit"].utility
    for name, config in (
        (utility.recommender, utility.options),
        (utility.large_recommender, {}),
    ):
        _instance("recommenders", name, config, "audit.utility")
    for name in configs["audit"].limits:
        if name.partition("_")[0] not in ("min", "max"):
            raise ConfigError(
                f"{name!r} is no limit of the audit",
                where=f"{PARAMS}, audit.limits",
                fix="write min_ or max_ and the name of a measure",
            )
    _, cutoff = read_metric(configs["gate"].metric, f"{PARAMS}, gate.metric")
    if cutoff not in configs["evaluation"].cutoffs:
        raise ConfigError(
            f"gate.metric is {configs['gate'].metric}, and lists of {cutoff} are not measured",
            where=f"{PARAMS}, evaluation.cutoffs",
            fix=f"add {cutoff} to evaluation.cutoffs, or choose another metric",
        )


def _declared(dvc_yaml: Path, params: Mapping[str, Any]) -> None:
    """Every key that a stage declares must stand in params.yaml: DVC refuses only when the stage
    runs."""
    stages = (read_yaml(dvc_yaml).get("stages")) or {}
    for stage, spec in stages.items():
        for key in spec.get("params") or []:
            if not isinstance(key, str) or "${" in key:
                continue
            value: Any = params
            for name in key.split("."):
                if not isinstance(value, Mapping) or name not in value:
                    raise ConfigError(
                        f"there is no {key}, on which the stage {stage} depends",
                        where=PARAMS,
                        fix=f"add it; `augrec config {key.partition('.')[0]}` prints the section's "
                        "keys and defaults",
                    )
                value = value[name]
