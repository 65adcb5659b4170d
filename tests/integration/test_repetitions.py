"""Arms trained more than once, with a regularisation of their own: the stages augment, train,
evaluate and decide."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from configured import write_params
from rich.console import Console
from test_model_stages import PARAMS, interactions, read, write_workspace

from augrec.core.errors import ConfigError
from augrec.core.files import write_json
from augrec.recommenders.base import find, load
from augrec.registry import tracking
from augrec.reporting import run_summary
from augrec.serving.page.retrain import content as page_content
from augrec.stages import augment, decide, evaluate, train

POLICIES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "bootstrap": [{"bootstrap": {"ratio": 0.5}}],
    "copy": [{"mix": {"sample": "gan", "ratio": 0.5}}],
}
RECOMMENDERS = ("popularity", "ease", "multvae")
GRID = {"popularity": {}, "ease": {"l2": [1.0, 100.0]}, "multvae": {"beta": [0.01]}}


def say(folder: Path, repetitions: int, **sections: Any) -> None:
    run = {
        "generators": ["gan"],
        "policies": list(POLICIES),
        "recommenders": list(RECOMMENDERS),
        "repetitions": repetitions,
    }
    params = PARAMS | {
        "run": run,
        "policies": POLICIES,
        "tuning": {"metric": "ndcg@5", "regularisation": GRID},
    }
    write_params(folder, params | sections)


def prepare(folder: Path, repetitions: int) -> None:
    write_workspace(folder)
    rows = interactions(1)
    rows.write_parquet(folder / "data/training_set/interactions.parquet")
    sample = folder / "data/synthetic/gan"
    sample.mkdir(parents=True)
    users = pl.col("user_id")
    made = rows.filter(users < "s1u20").with_columns(
        pl.lit("synthetic:gan:").add(users).alias("user_id"), origin=pl.lit("gan")
    )
    made.write_parquet(sample / "interactions.parquet")
    write_json(
        sample / "sample.json", {"n_users": made["user_id"].n_unique(), "n_interactions": len(made)}
    )
    say(folder, repetitions)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repeated")
    prepare(folder, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for policy in POLICIES:
            augment.main(policy)
            for recommender in RECOMMENDERS:
                train.main(recommender, policy)
                evaluate.main(recommender, policy)
        decide.main()
    return folder


def facts(folder: Path, recommender: str, policy: str) -> dict[str, Any]:
    return read(folder, f"models/recommenders/{recommender}/{policy}/training.json")


def arms(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = read(folder, "reports/decision.json")["arms"]
    return {(arm["recommender"], arm["policy"]): arm for arm in found}


def test_only_what_draws_is_trained_again(finished: Path) -> None:
    trained = {
        pair: len(arm["repetitions"]["test"]["overall"]["values"])
        for pair, arm in arms(finished).items()
    }
    assert trained == {
        (recommender, policy): 3 if recommender == "multvae" or policy == "bootstrap" else 1
        for recommender in RECOMMENDERS
        for policy in POLICIES
    }
    for recommender, policy in trained:
        assert facts(finished, recommender, policy)["repetitions"] == trained[recommender, policy]
    assert not (finished / "data/augmented/none/repetitions").exists()


def test_each_repetition_redraws_the_policy_and_the_training(finished: Path) -> None:
    folder = finished / "data/augmented/bootstrap"
    rows = [
        pl.read_parquet(folder / name) for name in ("interactions.parquet", "repetitions/1.parquet")
    ]
    assert rows[0].height > len(interactions(1)) and not rows[0].equals(rows[1])
    assert rows[0].filter(origin="real").equals(rows[1].filter(origin="real"))
    again = finished / "models/repetitions/multvae/none"
    seeds = {
        load(path).seed
        for path in (again / "1", again / "2", finished / "models/recommenders/multvae/none")
    }
    assert len(seeds) == 3


def test_the_model_that_may_be_promoted_is_the_training_that_validation_users_prefer(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    places = set()
    for policy in ("none", "bootstrap"):
        preferred = facts(finished, "multvae", policy)["preferred"]
        told = arms(finished)["multvae", policy]["repetitions"]["valid"]["overall"]["values"]
        assert sorted(told) == pytest.approx(sorted(preferred["values"]))
        assert told[0] == pytest.approx(max(preferred["values"]))
        places.add(preferred["training"])
        augment.main(policy)
        train.main("multvae", policy)
        assert facts(tmp_path, "multvae", policy)["preferred"]["training"] == 0
        assert not list(Path("models/repetitions/multvae").glob("*/*"))
        alone = f"models/recommenders/multvae/{policy}"
        first = f"models/repetitions/multvae/{policy}/1" if preferred["training"] else alone
        for name in ("arrays.safetensors", "component.json"):
            assert (tmp_path / alone / name).read_bytes() == (finished / first / name).read_bytes()
    assert places != {0}  # or the test would show nothing


def test_what_an_arm_reaches_is_the_mean_of_its_trainings_in_every_file(finished: Path) -> None:
    metrics = read(finished, "reports/evaluation/multvae/bootstrap/metrics.json")
    arm = arms(finished)["multvae", "bootstrap"]
    for split in ("valid", "test"):
        for part in ("overall", "slices", "catalogue"):
            assert arm[split][part] == metrics[split][part]
        told = arm["repetitions"][split]
        assert metrics[split]["overall"]["ndcg@5"] == pytest.approx(told["overall"]["mean"])
        for name, values in metrics[split]["slices"].items():
            assert values["ndcg@5"] == pytest.approx(told[name]["mean"])


def test_the_decision_compares_means_over_trainings_and_tells_each(finished: Path) -> None:
    decision = read(finished, "reports/decision.json")
    folder = finished / "reports/evaluation/multvae/copy"
    own, further = (
        pl.read_parquet(folder / "per_user.parquet"),
        pl.read_parquet(folder / "repetitions.parquet"),
    )
    means = [own.filter(split="test")["ndcg@5"].mean()]
    means += [further.filter(split="test", repetition=number)["ndcg@5"].mean() for number in (1, 2)]
    told = arms(finished)["multvae", "copy"]["repetitions"]["test"]["overall"]
    assert told["values"] == pytest.approx(means) and len(set(means)) > 1
    row = next(row for row in decision["comparisons"] if row["recommender"] == "multvae")
    assert row["candidate_mean"] == pytest.approx(np.mean(means))
    assert decision["schema"] == 3 and decision["repetitions"] == 3


def in_the_terminal(decision: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """Of each arm the numbers of its row: on validation users, on test users, …"""
    console = Console(width=120, record=True, file=StringIO())
    console.print(run_summary.table(decision))
    found, recommender = {}, ""
    for line in console.export_text().splitlines():
        words = line.replace("▶", " ").split()
        if words and words[0] in RECOMMENDERS and len(words) == 1:
            recommender = words[0]
        elif words and words[0] in POLICIES and recommender:
            found[recommender, words[0]] = [word for word in words if re.fullmatch(r"0\.\d+", word)]
    return found


def in_the_report(page: str) -> dict[tuple[str, str], list[str]]:
    """Of each arm its cell of the first table: on test users, on validation users."""
    [table] = re.findall(r'<table class="heat">(.*?)</table>', page, re.S)[:1]
    rows = re.findall(r"<tr><th[^>]*>(\w+)</th>(.*?)</tr>", table, re.S)
    return {
        (recommender, policy): re.findall(r">(\d\.\d+)<", cell)
        for recommender, cells in rows
        for policy, cell in zip(POLICIES, re.findall(r"<td.*?</td>", cells, re.S), strict=True)
    }


def test_every_number_that_a_run_shows_of_an_arm_is_the_same_everywhere(
    finished: Path, own_registry: Path
) -> None:
    """decision.json, metrics.json, terminal, report, page and MLflow."""
    decision = read(finished, "reports/decision.json")
    told, shown = in_the_terminal(decision), page_content(decision, {})
    reported = in_the_report((finished / "reports/report.html").read_text())
    (finished / "dvc.lock").write_text("schema: '2.0'\n")
    tracking.log_run(finished, "one", commit="c" * 40)
    paged = {(arm["recommender"], arm["policy"]): arm for arm in shown["arms"]}
    for (recommender, policy), arm in arms(finished).items():
        valid, test = (arm[split]["overall"]["ndcg@5"] for split in ("valid", "test"))
        metrics = read(finished, f"reports/evaluation/{recommender}/{policy}/metrics.json")
        assert (metrics["valid"]["overall"], metrics["test"]["overall"]) == (
            arm["valid"]["overall"],
            arm["test"]["overall"],
        )
        assert told[recommender, policy][:2] == [f"{valid:.3f}", f"{test:.3f}"]
        assert reported[recommender, policy] == [f"{test:.3f}", f"{valid:.3f}"]
        assert paged[recommender, policy]["valid"] == valid
        assert paged[recommender, policy]["values"][0] == test
        logged = tracking.find_child("one", "recommender", f"{recommender}/{policy}").data.metrics
        assert logged["valid/overall/ndcg_at_5"] == valid
        assert logged["test/overall/ndcg_at_5"] == test
        for split, value in (("valid", valid), ("test", test)):
            assert arm["repetitions"][split]["overall"]["mean"] == pytest.approx(value)
        for row in decision["comparisons"]:
            if row["recommender"] == recommender and row["slice"] == "overall":
                for side in ("candidate", "comparator"):
                    if row[side] == policy:
                        assert row[f"{side}_mean"] == pytest.approx(test)
    winner = decision["winner"]
    best = arms(finished)[winner["recommender"], winner["policy"]]["test"]["overall"]["ndcg@5"]
    assert f"NDCG@5 {best:.3f}" in decision["sentences"][2]
    assert f'<dd class="value">{best:.3f}</dd>' in (finished / "reports/report.html").read_text()


def test_every_arm_takes_the_same_gradient_steps_however_many_rows_it_has(finished: Path) -> None:
    told = [facts(finished, "multvae", policy) for policy in POLICIES]
    assert len({one["n_rows"] for one in told}) > 1
    assert {one["steps"] for one in told} == {PARAMS["recommenders"]["multvae"]["steps"]}
    again = (finished / "models/repetitions/multvae").glob("*/*")
    assert {load(path).describe()["steps"] for path in again} == {one["steps"] for one in told}


def test_each_arm_gets_the_regularisation_that_validation_users_want_from_one_grid(
    finished: Path,
) -> None:
    for recommender, key in (("ease", "l2"), ("multvae", "beta")):
        default = getattr(find(recommender).Config(), key)
        own = PARAMS["recommenders"][recommender].get(key, default)
        for policy in POLICIES:
            told = facts(finished, recommender, policy)["tuning"]
            tried = {row[key]: row["value"] for row in told["grid"]}
            assert [json.loads(value) for value in tried] == [own, *GRID[recommender][key]]
            chosen = told["chosen"][key]
            assert tried[json.dumps(chosen)] == max(tried.values()) == told["value"]
            folders = [finished / "models/recommenders" / recommender / policy]
            folders += list((finished / "models/repetitions" / recommender / policy).glob("*"))
            assert {getattr(load(folder).config, key) for folder in folders} == {chosen}
            assert arms(finished)[recommender, policy]["regularisation"] == {key: chosen}
    assert facts(finished, "popularity", "none")["tuning"] is None


def test_test_users_have_no_part_in_training(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, 2)
    (tmp_path / "data/training_set/cases_test.parquet").unlink()
    monkeypatch.chdir(tmp_path)
    augment.main("bootstrap")
    train.main("ease", "bootstrap")
    for folder in ("recommenders/ease/bootstrap", "repetitions/ease/bootstrap/1"):
        assert (tmp_path / "models" / folder / "component.json").exists()


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "two"])
def test_a_number_of_trainings_that_is_none_is_refused(
    number: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, 2)
    say(tmp_path, number)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no number of trainings"):
        augment.main("bootstrap")


def test_a_grid_with_an_unknown_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, 1)
    with pytest.raises(ConfigError, match="ease has no option 'lambda'"):
        say(tmp_path, 1, tuning={"regularisation": {"ease": {"lambda": [1.0]}}})
