"""dvc.yaml, params.yaml and the code belong together."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from augrec.augmentation.base import Policy
from augrec.core.config import parse
from augrec.generators import base as generators
from augrec.orchestration import form
from augrec.orchestration.pipeline import read_pipeline
from augrec.recommenders import base as recommenders
from augrec.tuning.config import TuningConfig, grid_of, space_of, starting_points
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


def rooms(stage: str) -> set[str]:
    """The code a stage runs: its own module, and every room or file it reaches through imports."""
    own = SOURCE / "augrec" / "stages" / f"{stage}.py"
    reached, waiting, answer = {own}, [own], {str(own.relative_to(HOME))}
    while waiting:
        for file in imported(waiting.pop()) - reached:
            reached.add(file)
            room = file.relative_to(SOURCE / "augrec").parts[0]
            if room in {"__init__.py"}:
                continue
            if room == "stages":
                answer.add(str(file.relative_to(HOME)))
                waiting.append(file)
                continue
            answer.add(f"src/augrec/{room}")
            folder = SOURCE / "augrec" / room
            inside = set(folder.rglob("*.py")) if folder.is_dir() else {file}
            waiting.extend(inside - reached | {file})
            reached |= inside
    return answer - {"src/augrec/stages/__init__.py"}


@pytest.mark.parametrize("stage", DVC)
def test_the_code_a_stage_runs_is_among_its_deps(stage: str) -> None:
    declared = {dep for dep in DVC[stage]["deps"] if dep.startswith("src/")}
    assert declared == rooms(stage)


def test_the_derived_edges_are_those_dvc_sees() -> None:
    from dvc.repo import Repo

    with Repo(str(HOME)) as repo:
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


def test_the_plan_lists_dependencies_first() -> None:
    plan = stages.plan(HOME)
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
    assert set(using) == {"audit", "augment", "decide"}
    assert all("audit" in upstream for name, upstream in using.items() if name != "audit")


def test_every_component_in_params_builds_from_its_section() -> None:
    for name, config in PARAMS["generators"].items():
        generators.find(name)(config)
    for name, config in PARAMS["recommenders"].items():
        recommenders.find(name)(config)
    for name, steps in PARAMS["policies"].items():
        Policy(name, steps, seed=0)


def test_every_recommender_in_params_has_a_space_with_its_own_values_and_every_preset_in_it() -> (
    None
):
    config = parse(TuningConfig, PARAMS["tuning"], "tuning")
    assert set(config.spaces) == set(PARAMS["recommenders"])
    for name, options in PARAMS["recommenders"].items():
        kind = recommenders.find(name)
        space = space_of(config, kind)
        starts = starting_points(config, kind(options), space)
        assert all(start.keys() == space.keys() for start in starts)
    assert all(set(preset) <= set(PARAMS["recommenders"]) for preset in config.presets.values())


def test_every_recommender_in_params_has_a_grid_of_regularisation_that_it_accepts() -> None:
    config = parse(TuningConfig, PARAMS["tuning"], "tuning")
    assert set(config.regularisation) == set(PARAMS["recommenders"])
    for name, options in PARAMS["recommenders"].items():
        grid = grid_of(config, recommenders.find(name)(options))
        assert set(grid) == set(config.regularisation[name])
        assert all(
            getattr(recommenders.find(name)(options).config, key) == one.choices[0]
            for key, one in grid.items()
        )


def test_what_takes_part_in_a_run_is_described() -> None:
    for kind in ("generators", "policies", "recommenders"):
        assert set(PARAMS["run"][kind]) <= set(PARAMS[kind])


def test_every_field_of_the_trigger_form_is_a_key_of_params() -> None:
    fields = form.fields(PARAMS)
    assert set(fields) == {*form.KEYS, "dry_run"}
    assert {field: fields[field].value for field in form.KEYS} == {
        field: form.value_at(PARAMS, key) for field, key in form.KEYS.items()
    }


def test_an_untouched_form_overrides_nothing_and_a_typo_is_refused() -> None:
    values = {name: param.value for name, param in form.fields(PARAMS).items()}
    assert form.overrides(values, {}, PARAMS) == {}
    assert form.overrides({**values, "policies": ["none"]}, {}, PARAMS) == {
        "run.policies": ["none"]
    }
    with pytest.raises(Exception, match="unknown parameter: polices"):
        form.overrides(values, {"polices": ["none"]}, PARAMS)
