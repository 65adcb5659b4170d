"""What `auto` chooses for data of five sizes, and how it becomes the lists of a run."""

from __future__ import annotations

import shutil
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from augrec.cli.app import cli
from augrec.core.config import AUTO, read_params
from augrec.core.data_shape import DataShape
from augrec.core.errors import ConfigError, InputError
from augrec.stages import planning
from augrec.stages.auto import choose, raw_shape, suited

HOME = Path(__file__).parents[2]
PARAMS = read_params(HOME)
PLACEBOS = ["none", "bootstrap", "popularity_random", "crossover", "truncation"]


def chosen(shape: DataShape, **run: Any) -> dict[str, list[str]]:
    params = deepcopy(PARAMS)
    params["run"] |= run
    found = planning.overridden(params, suited(params, shape).values)
    planning.resolve(found)
    return {key: found["run"][key] for key in ("generators", "policies", "recommenders")}


@pytest.mark.parametrize(
    ("shape", "generator", "recommenders"),
    [
        (DataShape(943, 1_682, 100_000), "profile_gan", ["popularity", "ease", "multvae"]),
        (
            DataShape(8_000, 33_000, 60_000),
            "latent_gan",
            ["popularity", "ials", "item_knn", "sasrec"],
        ),
        (DataShape(60, 40, 900), "profile_gan", ["popularity", "item_knn", "ease"]),
        (DataShape(2_000_000, 4_000, 10**8), "profile_gan", ["popularity", "ease", "multvae"]),
        (DataShape(60, 33_000, 9_000), "latent_gan", ["popularity", "ials", "item_knn", "sasrec"]),
    ],
    ids=["the demo", "large and sparse", "tiny", "many users of few items", "few users of many"],
)
def test_generators_and_recommenders_suit_the_size(
    shape: DataShape, generator: str, recommenders: list[str]
) -> None:
    assert chosen(shape) == {
        "generators": [generator],
        "policies": [*PLACEBOS, generator],
        "recommenders": recommenders,
    }


def test_it_is_the_default_and_says_what_it_chose_and_why() -> None:
    assert all(PARAMS["run"][key] == AUTO for key in ("generators", "policies", "recommenders"))
    found = suited(PARAMS, DataShape(8_000, 33_000, 60_000))
    said = "\n".join(found.sentences)
    assert "auto chose recommenders popularity, ials, item_knn, sasrec (8,000 users, 33,000" in said
    assert "auto chose generators latent_gan" in said and "5,000 items" in said
    assert found.values["run.chosen"] == found.sentences, "for the report"


SHAPE = DataShape(943, 1_682, 100_000)


def test_names_are_kept_and_what_is_auto_follows_them() -> None:
    assert chosen(SHAPE, recommenders=["bpr"])["recommenders"] == ["bpr"]
    used = chosen(SHAPE, policies=["none", "latent_gan", "extended"])
    assert used["generators"] == ["latent_gan", "sequence_gan"], "those that the policies use"
    assert chosen(SHAPE, policies=["none"])["generators"] == ["profile_gan"]
    assert chosen(SHAPE, generators=["latent_gan"])["policies"] == [*PLACEBOS, "latent_gan"]


def test_a_generator_without_a_policy_of_its_name_needs_one() -> None:
    with pytest.raises(ConfigError, match="none called sequence_gan") as caught:
        chosen(SHAPE, generators=["sequence_gan"])
    assert "sample: sequence_gan" in caught.value.fix


def raw(folder: Path) -> Path:
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(30)]
    (folder / "data/raw").mkdir(parents=True)
    pl.DataFrame(
        {
            "user_id": [f"u{n % 4}" for n in range(30)],
            "item_id": [f"i{n}" for n in range(30)],
            "timestamp": pl.Series(days, dtype=pl.Datetime("us", "UTC")),
        }
    ).write_parquet(folder / "data/raw/interactions.parquet")
    return folder / "data/raw"


def test_the_raw_data_within_the_window_are_counted(tmp_path: Path) -> None:
    assert raw_shape(raw(tmp_path), {}) == DataShape(4, 30, 30)
    window = {"start": "2024-01-03", "end": "2024-01-05"}
    assert raw_shape(tmp_path / "data/raw", window) == DataShape(2, 2, 2)


def test_without_raw_data_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data to choose") as caught:
        choose(PARAMS, tmp_path)
    assert "augrec data" in caught.value.fix
    named = deepcopy(PARAMS)
    named["run"] |= {"generators": ["x"], "policies": ["none"], "recommenders": ["ease"]}
    assert choose(named, tmp_path).values == {}


def test_stages_by_hand_are_told_to_write_the_choice_first_and_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"run\.generators is auto") as caught:
        planning.resolve(PARAMS)
    assert "augrec choose --write" in caught.value.fix
    raw(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(HOME / name, tmp_path / name)
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    shown = CliRunner().invoke(cli, ["choose"])
    assert shown.exit_code == 0, shown.output
    assert "auto chose recommenders popularity, item_knn, ease (4 users" in shown.output
    assert read_params(tmp_path) == PARAMS, "nothing is written unless asked for"
    assert CliRunner().invoke(cli, ["choose", "--write"]).exit_code == 0
    written = read_params(tmp_path)
    assert written["run"]["recommenders"] == ["popularity", "item_knn", "ease"]
    planning.resolve(written)
    assert "Generated users passed the gate in" in written["run"]["advice"]
    assert written | {"run": PARAMS["run"]} == PARAMS, "nothing else in the file changes"
    before, after = ((folder / "params.yaml").read_text() for folder in (HOME, tmp_path))
    assert before.count("#") == after.count("#"), "nor a comment"


def test_a_run_s_own_parameters_hold_the_lists(tmp_path: Path) -> None:
    raw(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(HOME / name, tmp_path / name)
    choice = planning.check(tmp_path, {"run.policies": ["none", "latent_gan"]})
    assert choice.values["run.generators"] == ["latent_gan"]
    assert "run.policies" not in choice.values
    assert choice.values["run.recommenders"] == ["popularity", "item_knn", "ease"]


def test_without_generators_auto_takes_real_data_and_placebos() -> None:
    run = {"generators": [], "policies": "auto", "recommenders": ["ease"]}
    found = suited({"run": run, "policies": {}}, DataShape(200, 100, 3000))
    assert "run.generators" not in found.values
    assert {"none", "bootstrap"} <= set(found.values["run.policies"])
