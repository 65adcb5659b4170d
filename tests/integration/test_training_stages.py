"""The train stage with a search, and under a policy that continues the champion, in a workspace of
its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from configured import write_params
from test_model_stages import PARAMS, interactions, outputs, read, write_workspace

from augrec.core.errors import ConfigError, InputError
from augrec.core.files import digest, write_json
from augrec.recommenders.base import Recommender, find, load
from augrec.stages import augment, train

SEARCH = {
    "trials": 5,
    "spaces": {
        "ease": {"l2": {"low": 1.0, "high": 1000.0, "log": True}},
        "multvae": {"learning_rate": {"low": 0.0001, "high": 0.1, "log": True}, "hidden": [4, 8]},
    },
}
LAST_ROW = interactions(1)["timestamp"].max()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_workspace(tmp_path)
    interactions(1).write_parquet(tmp_path / "data/training_set/interactions.parquet")
    monkeypatch.chdir(tmp_path)
    cut_time(tmp_path, "2024-01-20T00:00:00+00:00")
    return tmp_path


def cut_time(folder: Path, valid_from: str, order: str = "global") -> None:
    rules = {"order": order, "new_items": False}
    write_json(folder / "data/prepared/split.json", {"valid_from": valid_from, "rules": rules})


def say(folder: Path, **sections: Any) -> None:
    write_params(folder, PARAMS | sections)


def facts(folder: Path, recommender: str, policy: str) -> dict[str, Any]:
    return read(folder, f"models/recommenders/{recommender}/{policy}/training.json")


def test_a_search_leaves_its_trials_and_the_best_config_with_the_model(workspace: Path) -> None:
    say(workspace, tuning=SEARCH)
    (
        workspace / "data/training_set/cases_test.parquet"
    ).unlink()  # nothing of the test period is read
    for recommender in ("ease", "multvae"):
        train.main(recommender, "none")
        folder = workspace / "models/recommenders" / recommender / "none"
        trials, told = pl.read_csv(folder / "trials.csv"), facts(workspace, recommender, "none")
        assert told["n_trials"] == len(trials) == 5
        best = trials.filter(pl.col("trial") == told["tuning"]["trial"]).row(0, named=True)
        assert best["value"] == told["tuning"]["value"] == trials["value"].max()
        assert told["tuning"]["own_value"] == trials["value"][0] <= best["value"]
        assert told["tuning"]["out_of_time"] is False
        config = json.loads((folder / "component.json").read_text())["config"]
        own = find(recommender)(PARAMS["recommenders"][recommender]).config
        for key in SEARCH["spaces"][recommender]:
            assert config[key] == pytest.approx(best[key])
            assert trials[key][0] == pytest.approx(getattr(own, key))


def test_equal_training_sets_are_searched_alike_and_twice_gives_the_same_bytes(
    workspace: Path,
) -> None:
    say(workspace, tuning=SEARCH)
    for policy in ("bootstrap", "gan"):
        train.main("multvae", policy)
    folders = [
        workspace / "models/recommenders/multvae" / policy for policy in ("bootstrap", "gan")
    ]
    for name in ("trials.csv", "curve.csv", "arrays.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    before = outputs(workspace)
    train.main("multvae", "gan")
    assert outputs(workspace) == before


def test_without_trials_there_is_no_search(workspace: Path) -> None:
    say(workspace, tuning=SEARCH | {"trials": 0, "regularisation": {"ease": {}}})
    train.main("ease", "none")
    assert not (workspace / "models/recommenders/ease/none/trials.csv").exists()
    found = facts(workspace, "ease", "none")
    assert (found["n_trials"], found["tuning"]) == (0, None)


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"spaces": {"ease": {"lambda": [1]}}}, "ease has no option 'lambda'"),
        ({"trails": 3}, "trails"),
        ({"trials": 0, "metric": "auc"}, "no metric 'auc'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_training(
    workspace: Path, tuning: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        say(workspace, tuning=tuning)
        train.main("ease", "none")
    assert not (workspace / "models").exists()


@pytest.fixture
def champion(workspace: Path) -> dict[str, str]:
    """Version 3, a multvae trained on an earlier part of the rows, as `retrain` brings it."""
    whole = workspace / "data/augmented/none/interactions.parquet"
    rows = pl.read_parquet(whole)
    rows.head(len(rows) * 2 // 3).write_parquet(whole)
    train.main("multvae", "none")
    rows.write_parquet(whole)
    shutil.move(workspace / "models/recommenders/multvae/none", workspace / "models/champion")
    return {"version": "3", "digest": digest(workspace / "models/champion")}


def continue_(
    folder: Path, champion: dict[str, str] | None, older: float = 0.0, **sections: Any
) -> None:
    say(
        folder,
        policies=PARAMS["policies"] | {"fine_tune": [{"continue_champion": {"older": older}}]},
        run=PARAMS["run"] | {"champion": champion},
        **sections,
    )
    augment.main("fine_tune")


def test_a_policy_that_continues_the_champion_begins_at_its_weights(
    workspace: Path, champion: dict[str, str]
) -> None:
    continue_(workspace, champion)
    assert read(workspace, "data/augmented/fine_tune/policy.json")["champion"] == champion
    assert digest(workspace / "data/augmented/fine_tune/champion") == champion["digest"]
    train.main("multvae", "none")
    train.main("multvae", "fine_tune")
    told, before = (
        facts(workspace, "multvae", "fine_tune"),
        read(workspace, "models/champion/training.json"),
    )
    assert told["start"]["reason"].startswith(
        "continues the champion, version 3, on what users did since "
    )
    assert told["start"]["version"] == "3" and told["start"]["since"] == before["trained_until"]
    assert told["trained_until"] == LAST_ROW.isoformat() > before["trained_until"]
    assert facts(workspace, "multvae", "none")["start"] is None
    curve = pl.read_csv(workspace / "models/recommenders/multvae/fine_tune/curve.csv")
    assert curve["step"][0] == 0
    full, tuned = (model(workspace, policy) for policy in ("none", "fine_tune"))
    assert full._state().keys() == tuned._state().keys()
    assert (full._state()["read.weight"] != tuned._state()["read.weight"]).any()


def test_what_came_before_counts_as_much_as_the_policy_says(
    workspace: Path, champion: dict[str, str]
) -> None:
    curves = []
    for older in (0.0, 1.0, 1.0):
        continue_(workspace, champion, older=older)
        assert read(workspace, "data/augmented/fine_tune/policy.json")["older"] == older
        train.main("multvae", "fine_tune")
        curves.append(
            pl.read_csv(workspace / "models/recommenders/multvae/fine_tune/curve.csv")[
                "loss"
            ].to_list()
        )
    assert curves[0] != curves[1] == curves[2]


def test_the_size_of_the_champion_is_kept_and_training_follows_params_yaml(
    workspace: Path, champion: dict[str, str]
) -> None:
    recommenders = PARAMS["recommenders"] | {
        "multvae": {"hidden": 12, "latent": 4, "steps": 6, "eval_every": 3}
    }
    spaces = SEARCH["spaces"] | {"multvae": SEARCH["spaces"]["multvae"] | {"hidden": [8, 12]}}
    tuning = SEARCH | {"spaces": spaces}
    continue_(workspace, champion, recommenders=recommenders, tuning=tuning)
    train.main("multvae", "fine_tune")
    config = model(workspace, "fine_tune").config
    assert (config.hidden, config.steps) == (PARAMS["recommenders"]["multvae"]["hidden"], 6)
    trials = pl.read_csv(workspace / "models/recommenders/multvae/fine_tune/trials.csv")
    assert trials.columns == ["trial", "state", "value", "learning_rate"]


def test_what_cannot_continue_the_champion_trains_in_full_and_says_why(
    workspace: Path, champion: dict[str, str]
) -> None:
    def reason(recommender: str = "multvae") -> str:
        train.main(recommender, "fine_tune")
        told = facts(workspace, recommender, "fine_tune")["start"]
        assert told["version"] is None and told["since"] is None
        return str(told["reason"])

    continue_(workspace, champion)
    assert reason("ease") == "trained in full: the champion, version 3, is a multvae"
    for cut, order in (
        (read(workspace, "models/champion/training.json")["trained_until"], "global"),
        ("2024-01-20T00:00:00+00:00", "user"),
    ):
        cut_time(workspace, cut, order)
        assert "may have been trained on what this run judges by" in reason()
    arrays = workspace / "models/recommenders/multvae/fine_tune/arrays.safetensors"
    train.main("multvae", "none")
    assert arrays.read_bytes() == arrays.parents[1].joinpath("none/arrays.safetensors").read_bytes()
    continue_(workspace, None)
    assert reason() == "trained in full: there is no champion"
    assert not (workspace / "data/augmented/fine_tune/champion").exists()


def test_a_champion_that_is_not_the_one_of_params_yaml_is_refused(
    workspace: Path, champion: dict[str, str]
) -> None:
    (workspace / "models/champion/curve.csv").write_text("step\n")
    with pytest.raises(InputError, match="this is not version 3"):
        continue_(workspace, champion)
    shutil.rmtree(workspace / "models/champion")
    with pytest.raises(InputError, match="this is not version 3") as caught:
        continue_(workspace, champion)
    assert "models/champion.dvc" in caught.value.fix


def model(folder: Path, policy: str) -> Recommender:
    return load(folder / "models/recommenders/multvae" / policy)
