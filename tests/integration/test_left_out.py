"""What does not suit the data takes no part, from the stage `select` to the report, and nothing
fails for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from augrec.augmentation.base import Policy
from augrec.core.data_shape import DataShape
from augrec.core.errors import PermanentError, RefusedError
from augrec.core.files import read_json
from augrec.data.clean import clean
from augrec.data.config import PrepareConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.split import split
from augrec.generators import base as generators
from augrec.recommenders import base as recommenders
from augrec.registry import run_files
from augrec.reporting import run_summary
from augrec.stages import (
    _left_out,
    audit,
    augment,
    configure,
    decide,
    evaluate,
    select,
    synthesize,
    train,
    train_generator,
)
from augrec.stages.prepare import write_prepared

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
RUN = {
    **PARAMS["run"],
    "generators": ["profile_gan"],
    "policies": ["none", "bootstrap", "profile_gan"],
    "recommenders": ["popularity", "ease"],
    "repetitions": 1,
}
TOO_LARGE: dict[str, Any] = {
    "run": RUN,
    "generators": {"profile_gan": {"hidden": 10**12}},
    "recommenders": {"ease": {"max_items": 10}},
}


def set_params(folder: Path, changes: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}), encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run whose features were joined."""
    folder = tmp_path_factory.mktemp("shop")
    tables = simulate(ShopConfig(n_users=120, n_items=50, n_interactions=2000), seed=1)
    rows = clean(tables.interactions, PARAMS["prepare"]["positive"], min_item_interactions=1)
    parts = split(rows, PrepareConfig.model_validate(PARAMS["prepare"]).split, seed=1)
    write_prepared(folder / "data/prepared", tables, rows, rows, parts)
    training_set = folder / "data/training_set"
    training_set.mkdir()
    parts.train.write_parquet(training_set / "interactions.parquet")
    tables.users.join(parts.train, on="user_id", how="semi").write_parquet(
        training_set / "users.parquet"
    )
    for name in ("valid", "test"):
        shutil.copy(folder / f"data/prepared/cases_{name}.parquet", training_set)
    return folder


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A whole run of which EASE and the GAN are too large for the data."""
    folder = tmp_path_factory.mktemp("run") / "shop"
    shutil.copytree(prepared, folder)
    set_params(folder, TOO_LARGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all()
        yield folder


def run_all() -> None:
    configure.main()
    select.main()
    train_generator.main("profile_gan")
    synthesize.main("profile_gan")
    audit.main("profile_gan")
    for policy in RUN["policies"]:
        augment.main(policy)
    for recommender in RUN["recommenders"]:
        for policy in RUN["policies"]:
            train.main(recommender, policy)
            evaluate.main(recommender, policy)
    decide.main()


def decision(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "reports/decision.json"))


def test_the_run_goes_on_without_them_and_says_why_in_decision_and_report(finished: Path) -> None:
    found = {one["name"]: one for one in decision(finished)["left_out"]}
    rooms = {(one["room"], one["name"]) for one in decision(finished)["left_out"]}
    assert rooms == {
        ("generators", "profile_gan"),
        ("policies", "profile_gan"),
        ("recommenders", "ease"),
    }
    assert "a catalogue of 39 items; max_items allows 10" in found["ease"]["reason"]
    assert "ials or item_knn" in found["ease"]["fix"]
    arms = {(arm["recommender"], arm["policy"]) for arm in decision(finished)["arms"]}
    assert arms == {("popularity", "none"), ("popularity", "bootstrap")}
    page = (finished / "reports/report.html").read_text(encoding="utf-8")
    for one in decision(finished)["left_out"]:
        assert one["name"] in page and one["fix"].split(",")[0] in page


def test_the_table_in_the_terminal_names_them_with_the_reason(finished: Path) -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(run_summary.table(decision(finished)))
    text = " ".join(captured.get().split())
    assert "ease left out" in text
    assert "left out: recommender ease, EASE would need about" in text
    assert "left out: generator profile_gan, training profile_gan for" in text


def test_every_declared_output_is_there_and_says_that_it_is_left_out(finished: Path) -> None:
    for place in (
        "models/generators/profile_gan",
        "data/synthetic/profile_gan",
        "reports/audit/profile_gan",
        "data/augmented/profile_gan",
        "models/recommenders/ease/none",
        "models/repetitions/ease/none",
        "models/recommenders/popularity/profile_gan",
        "reports/evaluation/ease/bootstrap",
    ):
        assert [path.name for path in (finished / place).iterdir()] == ["left_out.json"], place
    file = finished / "data/selection/recommenders/popularity.json"
    assert read_json(file) == {"left_out": None, "settings": {}}


def test_settings_that_are_auto_are_decided_once_and_every_policy_trains_with_them(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared, tmp_path / "run")
    set_params(tmp_path / "run", {"run": {**RUN, "recommenders": ["ease"]}})
    monkeypatch.chdir(tmp_path / "run")
    configure.main()
    select.main()
    settings = read_json(Path("data/selection/recommenders/ease.json"))["settings"]
    assert set(settings) == {"l2"}
    for policy in ("none", "bootstrap"):
        augment.main(policy)
        train.main("ease", policy)
        found = read_json(Path(f"models/recommenders/ease/{policy}/training.json"))
        assert found["settings"] == settings
        tried = [float(one["l2"]) for one in found["tuning"]["grid"]]
        assert tried[0] == settings["l2"] and len(tried) == 3


def test_the_registry_logs_what_took_part_and_nothing_else(finished: Path) -> None:
    (finished / "dvc.lock").write_text("stages: {}")
    names = {part.name for part in run_files.parts(finished)}
    assert names == {"popularity/none", "popularity/bootstrap"}


def test_a_run_without_any_recommender_is_refused_before_anything_is_trained(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/prepared").symlink_to(prepared / "data/prepared")
    set_params(tmp_path, {**TOO_LARGE, "run": {**RUN, "recommenders": ["ease"]}})
    monkeypatch.chdir(tmp_path)
    configure.main()
    with pytest.raises(RefusedError, match=r"none of the run's recommenders.*ease: EASE") as caught:
        select.main()
    assert caught.value.exit_code == 2 and "for ease: take ials" in caught.value.fix
    assert not Path("data/selection").exists()


def test_a_training_that_is_refused_leaves_its_generator_out_with_the_curve_that_shows_why(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared, tmp_path / "run")
    broken = {"learning_rate": 1e6, "steps": 20, "batch_size": 16, "hidden": 8, "log_every": 5}
    set_params(tmp_path / "run", {**TOO_LARGE, "generators": {"profile_gan": broken}})
    monkeypatch.chdir(tmp_path / "run")
    configure.main()
    select.main()
    train_generator.main("profile_gan")
    found = _left_out.read(Path("models/generators/profile_gan"))
    assert found is not None and "diverged 4 times" in found.reason
    assert Path("models/generators/profile_gan/curve.csv").exists()
    synthesize.main("profile_gan")
    augment.main("profile_gan")
    left_out = _left_out.read(Path("data/augmented/profile_gan"))
    assert left_out is not None and left_out.room == "policies"
    assert "uses profile_gan, which is left out" in left_out.reason


def test_a_search_does_without_a_sample_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = _left_out.LeftOut("generators", "profile_gan", "too large", "take another")
    _left_out.write(gone, Path("data/synthetic/profile_gan"))
    searched = Policy("searched", deepcopy(PARAMS["policies"]["searched"]["steps"]), seed=0)
    assert augment._without_sample(searched) is None
    mixed = Policy("fused", deepcopy(PARAMS["policies"]["fused"]["steps"]), seed=0)
    assert augment._without_sample(mixed) is not None


HUGE = DataShape(n_users=1000, n_items=10**9, n_interactions=10**9, n_listed_items=10**9)
LARGE = DataShape(n_users=1000, n_items=10**6, n_interactions=10**7, n_listed_items=10**6)
SMALL = DataShape(1000, 500, 20_000, 500, frozenset({"title"}), frozenset({"age"}))


@pytest.mark.parametrize("name", ["ease", "multvae", "recvae", "cfgan"])
def test_a_dense_recommender_names_memory_and_catalogue(name: str) -> None:
    recommenders.find(name)().check_fits(SMALL)
    with pytest.raises(RefusedError, match=r"1,000,000,000 items.*GiB|GiB.*1,000,000,000") as found:
        recommenders.find(name)().check_fits(HUGE)
    assert "ials" in found.value.fix


@pytest.mark.parametrize("name", ["profile_gan", "profile_vae", "cfgan"])
def test_a_dense_generator_names_memory_and_catalogue(name: str) -> None:
    generators.find(name)().check_fits(SMALL)
    with pytest.raises(RefusedError, match="1,000,000,000 items needs about") as found:
        generators.find(name)().check_fits(HUGE)
    assert "latent_gan" in found.value.fix


@pytest.mark.parametrize(
    ("name", "config", "problem"),
    [
        ("content", {"title": 0}, "no word describes"),
        ("popularity", {"group_by": "town"}, "no attribute 'town'; there are: age"),
        ("demographics", {"attributes": ["town"]}, "no attribute town; there are: age"),
    ],
)
def test_a_column_that_is_needed_and_missing_is_named(
    name: str, config: dict[str, Any], problem: str
) -> None:
    recommenders.find(name)().check_fits(SMALL)
    with pytest.raises(PermanentError, match=problem):
        recommenders.find(name)(config).check_fits(SMALL)


@pytest.mark.parametrize("name", ["popularity", "item_knn", "ials", "bpr", "sasrec", "gru4rec"])
def test_what_holds_no_users_times_items_takes_a_large_catalogue(name: str) -> None:
    recommenders.find(name)().check_fits(LARGE)
