"""dvc.yaml, params.yaml and the code belong together."""

from __future__ import annotations

import ast
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import ParamValidationError
from dvc.repo import Repo

from augrec.core.component import available
from augrec.core.config import parse
from augrec.core.errors import ConfigError
from augrec.generators import base as generators
from augrec.orchestration import form, run_parameters
from augrec.orchestration.pipeline import read_pipeline
from augrec.recommenders import base as recommenders
from augrec.stages import planning
from augrec.tuning.config import (
    TuningConfig,
    grid_of,
    presets_of,
    space_of,
    starting_points,
)
from augrec.tuning.presets import PRESETS
from augrec.versioning import stages

HOME = Path(__file__).parents[2]
SOURCE = HOME / "src"
DVC = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((HOME / "params.yaml").read_text())


def file_of(module: str) -> Path | None:
    """The file of a module of augrec's, as a package or a plain file."""
    path = SOURCE.joinpath(*module.split("."))
    return next(
        (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()), None
    )


def imported(file: Path) -> set[Path]:
    """Files of augrec that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {path for name in names if name.startswith("augrec") and (path := file_of(name))}
    return found


FILE_BY_FILE = {
    "train_generator": {"recommenders"},
    "synthesize": {"recommenders"},
    "evaluate": {"audit"},
    "taste_groups": {"recommenders"},
}
"""Rooms of which a stage names files, not the whole: a new recommender trains no generator anew, a
new measure of samples evaluates no recommender again."""


def code(stage: str) -> set[str]:
    """The code a stage runs: its own module, and every room or file it reaches through imports."""
    own = SOURCE / "augrec" / "stages" / f"{stage}.py"
    reached, waiting, answer = {own}, [own], {str(own.relative_to(HOME))}
    single = {"stages", *FILE_BY_FILE.get(stage, ())}
    while waiting:
        for file in imported(waiting.pop()) - reached:
            reached.add(file)
            room = file.relative_to(SOURCE / "augrec").parts[0]
            if room == "__init__.py":
                continue
            if room in single:
                answer.add(str(file.relative_to(HOME)))
                waiting.append(file)
                continue
            answer.add(f"src/augrec/{room}")
            folder = SOURCE / "augrec" / room
            inside = set(folder.rglob("*.py")) if folder.is_dir() else {file}
            waiting.extend(inside - reached | {file})
            reached |= inside
    return {path for path in answer if path != "src/augrec/stages/__init__.py"}


@pytest.mark.parametrize("stage", DVC)
def test_the_code_a_stage_runs_is_among_its_deps(stage: str) -> None:
    declared = {dep for dep in DVC[stage]["deps"] if dep.startswith("src/")}
    assert declared == code(stage)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which every stage has just run, as far as DVC can tell."""
    home = tmp_path_factory.mktemp("committed") / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src", "feature_repo"):
        shutil.copytree(HOME / name, home / name, ignore=ignored)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(HOME / name, home / name)
    run = {
        "generators": ["profile_gan"],
        "policies": ["none"],
        "recommenders": ["ease", "popularity"],
    }
    params = PARAMS | {"run": PARAMS["run"] | run}
    (home / "params.yaml").write_text(yaml.safe_dump(params))
    Repo.init(str(home), no_scm=True).close()
    (home / "data/raw").mkdir(parents=True)
    plan = stages.plan(home)
    for stage in plan:
        for out in stage.outs:
            (home / out).parent.mkdir(parents=True, exist_ok=True)
            (home / out).mkdir() if not Path(out).suffix else (home / out).touch()
    for room in ("generators", "recommenders"):
        for name in params["run"][room]:
            for folder in ("config", "selection"):
                file = home / "data" / folder / room / f"{name}.json"
                file.parent.mkdir(exist_ok=True)
                file.write_text("{}")
    (home / "data/taste_groups/attributes.parquet").touch()
    with stages.opened(home) as repo:
        repo.commit(None, force=True)
    assert stages.unfinished(home) == []
    return home


@pytest.fixture
def trained(committed: Path, tmp_path: Path) -> Path:
    """A copy of it of one's own."""
    return shutil.copytree(committed, tmp_path / "project")


def groups(names: list[str]) -> set[str]:
    return {name.partition("@")[0] for name in names}


def test_a_new_recommender_trains_no_generator_and_draws_no_sample_again(trained: Path) -> None:
    file = trained / "src/augrec/recommenders/brand_new.py"
    file.write_text('"""Another recommender."""\n')
    assert groups(stages.unfinished(trained)).isdisjoint(
        {"validate", "prepare", "features", "training_set", "train_generator", "synthesize"}
    )
    file.unlink()
    (trained / "src/augrec/recommenders/ials.py").write_text("# another version\n")
    assert {"train_generator", "synthesize"} <= groups(stages.unfinished(trained))


def test_another_config_of_a_recommender_trains_that_one_alone(trained: Path) -> None:
    (trained / "data/config/recommenders/ease.json").write_text('{"config": {"l2": 1.0}}\n')
    touched = [name for name in stages.unfinished(trained) if name.startswith("train")]
    assert touched == ["train@ease-none"]


def test_the_derived_edges_are_those_dvc_sees(committed: Path) -> None:
    with stages.opened(committed) as repo:
        graph = repo.index.graph
        seen = {
            (a.addressing.partition("@")[0], b.addressing.partition("@")[0])
            for a, b in graph.edges
            if a.cmd and b.cmd
        }
    derived = {
        (spec.name, upstream)
        for spec in read_pipeline(HOME / "dvc.yaml")
        for upstream in spec.upstream
    }
    assert derived == seen


def test_the_plan_lists_dependencies_first(committed: Path) -> None:
    plan = stages.plan(committed)
    place = {stage.name: number for number, stage in enumerate(plan)}
    upstream = {spec.name: spec.upstream for spec in read_pipeline(HOME / "dvc.yaml")}
    for stage in plan:
        for other in plan:
            if other.group in upstream[stage.group]:
                assert place[other.name] < place[stage.name]


def test_whatever_uses_a_sample_waits_for_its_audit() -> None:
    using = {
        spec.name: spec.upstream
        for spec in read_pipeline(HOME / "dvc.yaml")
        if "synthesize" in spec.upstream
    }
    assert set(using) == {"audit", "augment", "decide", "refit"}
    assert "decide" in using.pop("refit")
    assert all("audit" in upstream for name, upstream in using.items() if name != "audit")


NAMED = {"generators": ["profile_gan"], "recommenders": ["ease"]}
ROOMS: dict[str, Any] = {"generators": generators, "recommenders": recommenders}


def test_params_yaml_says_only_what_differs_from_the_defaults_and_can_be_read_in_one_sitting() -> (
    None
):
    assert len((HOME / "params.yaml").read_text().splitlines()) <= 300
    for room, base in ROOMS.items():
        for name, options in PARAMS[room].items():
            default = base.find(name)().config.model_dump(mode="json")
            assert all(default[key] != value for key, value in options.items()), name


@pytest.mark.parametrize(
    ("room", "name"),
    [(room, name) for room in ROOMS for name in available(f"augrec.{room}")],
)
def test_every_component_runs_with_nothing_but_its_name_in_run(room: str, name: str) -> None:
    run = PARAMS["run"] | NAMED | {room: [name], "policies": ["none"]}
    resolved = planning.resolve({**PARAMS, "run": run, room: {}})[room][name]
    again = ROOMS[room].find(name)(resolved["config"])
    assert again.config == ROOMS[room].find(name)().config


def test_every_policy_in_params_runs() -> None:
    run = PARAMS["run"] | {
        "policies": list(PARAMS["policies"]),
        "generators": ["latent_gan", "profile_gan", "profile_vae", "sequence_gan"],
        "recommenders": ["ease"],
    }
    planning.resolve({**PARAMS, "run": run})


@pytest.mark.parametrize("name", available("augrec.recommenders"))
def test_a_search_begins_at_a_recommenders_own_values_inside_its_space(name: str) -> None:
    config, own = parse(TuningConfig, PARAMS["tuning"], "tuning"), recommenders.find(name)()
    space = space_of(config, type(own))
    starts = starting_points(config, own, space)
    assert all(start.keys() == space.keys() for start in starts)
    presets = [preset[name] for preset in PRESETS.values() if name in preset]
    assert presets_of(config, type(own), space).keys() <= PRESETS.keys()
    assert len(presets_of(config, type(own), space)) == len(presets)
    grid = grid_of(config, own)
    assert set(grid) == set(own.regularisation)
    assert all(getattr(own.config, key) == one.choices[0] for key, one in grid.items())


def test_every_preset_is_of_a_recommender_there_is() -> None:
    assert {name for preset in PRESETS.values() for name in preset} <= set(
        available("augrec.recommenders")
    )


def test_every_field_of_the_trigger_form_is_a_key_of_params() -> None:
    fields = form.fields(PARAMS)
    assert set(fields) == set(run_parameters.FIELDS)
    assert {
        field: run_parameters.as_parameter(field, fields[field].value)
        for field in run_parameters.KEYS
    } == {field: run_parameters.value_at(PARAMS, key) for field, key in run_parameters.KEYS.items()}


def test_the_form_has_a_word_for_a_run_without_generators() -> None:
    field = form.fields(PARAMS | {"run": PARAMS["run"] | {"generators": []}})["generators"]
    assert run_parameters.as_parameter("generators", field.value) == []
    assert field.resolve([]) == []
    with pytest.raises(ConfigError, match="generators is none and names others too"):
        run_parameters.as_parameter("generators", ["none", "cfgan"])
    assert run_parameters.as_parameter("policies", ["none"]) == ["none"]


@pytest.mark.parametrize("name", ["max_synthetic_ratio", "tuning_seconds"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_form_takes_no_number_that_is_not_finite(name: str, value: float) -> None:
    field = form.fields(PARAMS)[name]
    assert field.resolve(2.5) == 2.5
    with pytest.raises(ParamValidationError):
        field.resolve(value)


def test_of_the_lists_only_generators_may_be_empty() -> None:
    fields = form.fields(PARAMS)
    assert fields["generators"].resolve([]) == []
    for name in ("policies", "recommenders"):
        with pytest.raises(ParamValidationError):
            fields[name].resolve([])


def test_what_was_not_sent_is_what_params_yaml_has_now() -> None:
    changed = {**PARAMS, "run": {**PARAMS["run"], "repetitions": 5}}
    assert run_parameters.overrides({}, changed) == {}
    assert run_parameters.overrides({"repetitions": 1}, changed) == {"run.repetitions": 1}


def test_an_untouched_form_overrides_nothing_and_a_typo_is_refused() -> None:
    values = {name: param.value for name, param in form.fields(PARAMS).items()}
    assert run_parameters.overrides(values, PARAMS) == {}
    assert run_parameters.overrides({**values, "policies": ["none"]}, PARAMS) == {
        "run.policies": ["none"]
    }
    with pytest.raises(Exception, match="policies is auto and names others too: auto, none"):
        run_parameters.overrides({**values, "policies": ["auto", "none"]}, PARAMS)
    with pytest.raises(Exception, match="unknown parameter: polices"):
        run_parameters.overrides({"polices": ["none"]}, PARAMS)
