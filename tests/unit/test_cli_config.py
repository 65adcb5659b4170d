"""`augrec config`: every key of whatever can be configured, and what this project sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from augrec.cli import config
from augrec.cli.app import cli
from augrec.core.component import available
from augrec.core.config import BaseConfig, read_params
from augrec.core.describe import REQUIRED, keys_of
from augrec.core.errors import ConfigError

PARAMS = read_params(Path(__file__).parents[2])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setattr(config.console, "width", 160)
    return tmp_path


def printed(*words: str) -> str:
    result = CliRunner().invoke(cli, ["config", *words])
    if result.exception is not None:
        raise result.exception
    return result.output


def change(folder: Path, **sections: Any) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | sections))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(entry.config, id=entry.name)
        for entry in (
            *(
                config._component(PARAMS, f"{room}.{name}")
                for room, package in config.ROOMS.items()
                for name in available(package)
            ),
            *(config._Entry(name, kind, {}) for name, kind in config._sections().items()),
        )
    ],
)
def test_every_key_has_a_default_or_is_required_and_says_what_it_takes(
    kind: type[BaseConfig],
) -> None:
    for key in keys_of(kind):
        assert key.takes
        assert key.default is REQUIRED or not isinstance(key.default, BaseConfig)


def test_without_a_name_all_components_and_sections_are_listed(project: Path) -> None:
    text = printed()
    for package in config.ROOMS.values():
        assert all(name in text for name in available(package))
    assert all(name in text for name in config._sections())


def test_a_component_is_printed_with_values_defaults_ranges_meanings_and_its_search(
    project: Path,
) -> None:
    change(project, recommenders={"ease": {"l2": 30}})
    text = printed("ease")
    assert "30" in text and "default auto" in text
    assert "Penalty on the weights" in text and "a number, above 0" in text
    assert "one of float64, float32" in text
    assert "What is searched" in text and "without a search one of" in text
    assert "preset sparse" in printed("item_knn")


def test_a_name_of_two_rooms_prints_both_unless_the_room_is_named(project: Path) -> None:
    both, one = printed("cfgan"), printed("recommenders.cfgan")
    assert "generators.cfgan" in both and "recommenders.cfgan" in both
    assert "generators.cfgan" not in one and "recommenders.cfgan" in one


def test_sections_operations_selectors_and_protocols_are_printed_too(project: Path) -> None:
    assert "non_inferiority_margin" in printed("gate")
    assert "source.interactions" not in printed("data.window")
    assert "split.folds" in printed("prepare.split")
    assert "min_item_interactions" not in printed("prepare.split")
    assert "rollout.mode" in printed("serving")
    assert "ratio" in printed("crossover") and "drop_nearest" in printed("likeness")
    k_fold = printed("k_fold")
    assert "folds" in k_fold and "cold_share" not in k_fold and "min_targets" in k_fold


def test_what_the_project_sets_differently_is_listed_with_its_default(project: Path) -> None:
    change(project, recommenders={"ease": {"l2": 30, "popularity_blend": 3.0}}, generators={})
    rows = [line.split() for line in printed("--changed").splitlines()]
    assert ["recommenders.ease.l2", "30", "auto"] in rows
    assert not any(row and row[0] == "recommenders.ease.popularity_blend" for row in rows)
    assert not any(row and row[0].startswith("generators.") for row in rows)


def test_an_unknown_name_is_refused_with_the_closest_one(project: Path) -> None:
    with pytest.raises(ConfigError, match="no component or section called 'eas'") as caught:
        printed("eas")
    assert "did you mean ease?" in caught.value.fix
