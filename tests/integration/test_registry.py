from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from registry_workspace import decision_of, interactions, make_workspace

from augrec.core.errors import InputError, RefusedError
from augrec.core.files import digest, read_json, write_json, write_parquet, write_text
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.recommenders import base
from augrec.registry import (
    bundle,
    experiment_page,
    logged_runs,
    mlflow_values,
    mlflow_versions,
    models,
    promotion,
    rebuild_check,
    tracking,
)
from augrec.registry.champion_comparison import compare_with_champion
from augrec.registry.connection import MODEL, client, experiment
from augrec.registry.models import CHAMPION, PREVIOUS, Version

COMMIT = "c0ffee" * 6 + "c0ff"
pytestmark = pytest.mark.usefixtures("own_registry")
NO_HISTORY = pl.Series([[]], dtype=pl.List(pl.String))


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three runs with different winners; the last one over another catalogue."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "first": make_workspace(folder / "first", seed=1),
        "second": make_workspace(folder / "second", seed=2),
        "other": make_workspace(folder / "other", seed=3, winner=("ease", "none"), prefix="other-"),
        "refit": with_refit(make_workspace(folder / "refit", seed=4)),
    }


def with_refit(workspace: Path) -> Path:
    """The winner trained once more, on rows that hold an item which only came later."""
    later = interactions(prefix="later-", seed=9)
    rows = pl.concat([pl.read_parquet(workspace / "data/prepared/train.parquet"), later])
    base.find("popularity")().fit(TrainingData(rows)).save(workspace / "models/refit/model")
    return workspace


def register(workspaces: dict[str, Path], name: str) -> Version:
    tracking.log_run(workspaces[name], name, commit=COMMIT)
    return models.register(
        workspaces[name], name, COMMIT, decision_of(workspaces[name]), feature_service="shop_v1"
    )


def promote(version: Version, expected: Version | None) -> promotion.Promotion | None:
    return promotion.promote(
        version.version,
        reason="better\u2028–\n“yes”",
        by="test",
        expected_champion=expected and expected.version,
    )


def all_runs() -> list:
    return list(client().search_runs([experiment()], max_results=1000))


def bundle_folder(version: Version) -> Path:
    return Path(str(mlflow_versions.by_number(version.version).source))


def test_a_run_is_logged_with_a_child_for_each_model(workspaces: dict[str, Path]) -> None:
    parent = client().get_run(
        tracking.log_run(workspaces["first"], "run+1", commit=COMMIT, tags={"by": "test"})
    )
    assert parent.data.tags["augrec.commit"] == COMMIT
    assert parent.data.tags["by"] == "test"
    assert {info.path for info in client().list_artifacts(parent.info.run_id)} >= {
        "report.html",
        "decision.json",
        "validation",
    }
    children = [
        run for run in all_runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert {run.data.tags["augrec.name"] for run in children} == {
        "popularity/none",
        "popularity/truncation",
    }
    child = tracking.find_child("run+1", "recommender", "popularity/none")
    expected = read_json(workspaces["first"] / "reports/evaluation/popularity/none/metrics.json")
    assert child.data.metrics["test/overall/ndcg_at_10"] == expected["test"]["overall"]["ndcg@10"]
    assert child.data.params["config.half_life_days"] == "None"
    assert len(client().get_metric_history(child.info.run_id, "curve/loss")) == 50
    inputs = {found.dataset.name: found.dataset.digest for found in child.inputs.dataset_inputs}
    assert inputs.keys() == {"data/prepared", "data/augmented/none"}
    assert all(digest.endswith(".dir") for digest in inputs.values())


def test_the_last_run_that_decided_can_be_read_by_others(workspaces: dict[str, Path]) -> None:
    assert logged_runs.last() is None
    tracking.log_run(workspaces["first"], "a", commit=COMMIT)
    tracking.log_run(workspaces["second"], "b", commit=COMMIT)
    found = logged_runs.last()
    assert found is not None and (found.run_id, found.commit) == ("b", COMMIT)
    assert logged_runs.decision(found) == decision_of(workspaces["second"])
    assert logged_runs.report(found) == "<!-- the run --><h1>report</h1>"
    assert logged_runs.audits(found) == {}


def test_nothing_secret_is_logged(workspaces: dict[str, Path], own_registry: Path) -> None:
    tracking.log_run(
        workspaces["first"], "run", commit=COMMIT, tags={"source": "mysql://shop:hunter2@db/shop"}
    )
    kept = [path for path in own_registry.rglob("*") if path.is_file()]
    assert any(path.name == "decision.json" for path in kept)
    assert [
        path.name for path in kept if b"hunter2" in path.read_bytes()
    ] == []  # the database among them


def test_logging_a_run_twice_changes_nothing(workspaces: dict[str, Path]) -> None:
    first = tracking.log_run(workspaces["first"], "run", commit=COMMIT)
    before = {run.info.run_id: run.to_dictionary() for run in all_runs()}
    assert tracking.log_run(workspaces["first"], "run", commit=COMMIT) == first
    assert {run.info.run_id: run.to_dictionary() for run in all_runs()} == before


def test_a_run_half_logged_by_a_killed_task_is_completed_without_doubles(
    workspaces: dict[str, Path],
) -> None:
    parent = tracking.log_run(workspaces["first"], "run", commit=COMMIT)
    whole = tracking.find_child("run", "recommender", "popularity/none")
    lost = tracking.find_child("run", "recommender", "popularity/truncation")
    client().update_run(
        parent, "RUNNING"
    )  # as if killed while the first child was complete but not marked so,
    client().update_run(whole.info.run_id, "RUNNING")
    client().delete_run(lost.info.run_id)  # and the second not begun
    assert tracking.log_run(workspaces["first"], "run", commit=COMMIT) == parent
    assert len(all_runs()) == 3
    assert all(run.info.status == "FINISHED" for run in all_runs())
    assert len(client().get_metric_history(whole.info.run_id, "curve/loss")) == 50
    assert len(client().get_metric_history(whole.info.run_id, "test/overall/ndcg_at_10")) == 1
    assert len(client().get_run(whole.info.run_id).inputs.dataset_inputs) == 2


def test_a_run_computed_again_with_other_results_takes_the_place_of_the_first(
    workspaces: dict[str, Path],
) -> None:
    first = tracking.log_run(workspaces["first"], "run", commit=COMMIT)
    second = tracking.log_run(workspaces["second"], "run", commit=COMMIT)
    found = tracking.find_parent("run")
    assert first != second and found is not None and found.info.run_id == second
    assert client().get_run(first).data.tags[tracking.REPLACED] == "run"


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A run whose search tried 70 configs of one recommender; the last ten were given up."""
    run = make_workspace(tmp_path / "searched", seed=4)
    folder = run / "models/recommenders/popularity/none"
    rows = [f"{n},complete,{n / 100},{n + 1}" for n in range(60)] + [
        f"{n},pruned,,{n + 1}" for n in range(60, 70)
    ]
    write_text(folder / "trials.csv", "\n".join(["trial,state,value,half_life_days", *rows]))
    write_json(
        folder / "training.json", {"n_trials": 70, "tuning": {"metric": "ndcg@10", "value": 0.59}}
    )
    return run


def trials_of(name: str) -> list:
    child = tracking.find_child("run", "recommender", name)
    return [
        run for run in all_runs() if run.data.tags.get("mlflow.parentRunId") == child.info.run_id
    ]


def test_the_best_trials_of_a_search_are_runs_below_the_models(searched: Path) -> None:
    tracking.log_run(searched, "run", commit=COMMIT)
    logged = {run.info.run_name: run for run in trials_of("popularity/none")}
    assert set(logged) == {f"trial {n}" for n in range(30, 60)}
    best = logged["trial 59"]
    assert best.data.params == {"config.half_life_days": "60"}
    assert best.data.metrics == {"valid/overall/ndcg_at_10": 0.59}
    assert best.info.status == "FINISHED"
    assert trials_of("popularity/truncation") == []
    child = tracking.find_child("run", "recommender", "popularity/none")
    assert "trials.csv" in {info.path for info in client().list_artifacts(child.info.run_id)}
    assert child.data.metrics["training/tuning/value"] == 0.59


def test_trials_that_did_not_end_say_so_and_none_is_logged_twice(searched: Path) -> None:
    folder = searched / "models/recommenders/popularity/none"
    write_text(
        folder / "trials.csv",
        "trial,state,value,half_life_days\n0,complete,0.1,null\n1,pruned,,3\n2,failed,,4\n",
    )
    parent = tracking.log_run(searched, "run", commit=COMMIT)
    states = {run.info.run_name: run.info.status for run in trials_of("popularity/none")}
    assert states == {"trial 0": "FINISHED", "trial 1": "KILLED", "trial 2": "FAILED"}
    child = tracking.find_child("run", "recommender", "popularity/none")
    [lost] = [run for run in trials_of("popularity/none") if run.info.run_name == "trial 2"]
    client().delete_run(lost.info.run_id)  # as if killed before it, with the second half logged
    for run in (parent, child.info.run_id):
        client().update_run(run, "RUNNING")
    tracking.log_run(searched, "run", commit=COMMIT)
    again = trials_of("popularity/none")
    assert {run.info.run_name: run.info.status for run in again} == states and len(again) == 3


def test_the_same_model_is_registered_once(workspaces: dict[str, Path]) -> None:
    version = register(workspaces, "first")
    again = register(workspaces, "first")
    tracking.log_run(workspaces["first"], "a later run", commit="d" * 40)
    later = models.register(
        workspaces["first"], "a later run", "d" * 40, decision_of(workspaces["first"])
    )
    assert again == version and later == version
    assert [found.version for found in models.versions()] == ["1"]


def test_registering_the_champion_again_says_that_it_is_champion(
    workspaces: dict[str, Path],
) -> None:
    promote(register(workspaces, "first"), None)
    assert register(workspaces, "first").aliases == (CHAMPION,)


def test_a_version_says_where_it_came_from(workspaces: dict[str, Path]) -> None:
    version = register(workspaces, "first")
    assert (version.commit, version.run_id, version.feature_service) == (COMMIT, "first", "shop_v1")
    assert (version.recommender, version.policy, version.verdict) == (
        "popularity",
        "none",
        "no_generated",
    )
    assert version.dvc.keys() >= {"data/raw", "data/prepared", "data/augmented/none"}
    arm = decision_of(workspaces["first"])["arms"][0]
    assert models.metrics(version) == {split: arm[split] for split in ("valid", "test")}
    assert version.headlines["ndcg@10"] == round(arm["test"]["overall"]["ndcg@10"], 4)


def test_tags_of_a_version_are_short_and_its_description_leads_to_report_and_run(
    workspaces: dict[str, Path],
) -> None:
    links = {"augrec.report": "http://host/report", "augrec.airflow": "http://host/run"}
    tracking.log_run(workspaces["first"], "first", commit=COMMIT, tags=links)
    decision = decision_of(workspaces["first"])
    version = models.register(workspaces["first"], "first", COMMIT, decision, links=links)
    found = mlflow_versions.by_number(version.version)
    assert max(len(value) for value in found.tags.values()) <= 100
    logged = tracking.find_parent("first")
    assert logged is not None
    for described in (found.description, logged.data.tags["mlflow.note.content"]):
        assert described.endswith(
            "[Report](http://host/report) · [Run in Airflow](http://host/run)"
        )


def test_the_experiment_opens_on_retrains_with_their_most_important_numbers(
    workspaces: dict[str, Path],
) -> None:
    logged = client().get_run(tracking.log_run(workspaces["first"], "first", commit=COMMIT))
    shown = client().get_experiment(experiment()).tags
    assert shown["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(shown[f"mlflow.sharedViewState.{experiment_page.VIEW}"])
    known = {f"metrics.`{name}`" for name in logged.data.metrics}
    known |= {f"tags.`{name}`" for name in logged.data.tags} | {"attributes.`Duration`"}
    # these models were measured in lists of 5 and 10
    assert set(view["selectedColumns"]) - known == {"metrics.`recall_at_20`"}
    charts = [chart["metricKey"] for chart in view["compareRunCharts"]]
    assert charts == [mlflow_values.metric_name(name) for name in experiment_page.HEADLINES]
    [section] = view["compareRunSections"]
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == {section["uuid"]}


def test_a_run_must_be_logged_before_its_winner_is_registered(workspaces: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="log the run before"):
        models.register(workspaces["first"], "unknown", COMMIT, decision_of(workspaces["first"]))
    assert models.versions() == []


def test_a_version_keeps_what_the_attack_found_and_a_limit_refuses_it(
    workspaces: dict[str, Path],
) -> None:
    decision = decision_of(workspaces["first"])
    tracking.log_run(workspaces["first"], "first", commit=COMMIT)
    found = {"auc": 0.8, "low": 0.7, "high": 0.9, "control": 0.55}
    arms = [{**arm, "membership": found} for arm in decision["arms"]]

    def registered(limit: float | None, arms: list[dict[str, Any]]) -> models.Version:
        limited = {**decision, "arms": arms, "gate": {"max_membership_auc": limit}}
        return models.register(workspaces["first"], "first", COMMIT, limited)

    with pytest.raises(RefusedError, match=r"at least 0\.650"):
        registered(0.6, arms)
    with pytest.raises(RefusedError, match="could not be measured"):
        registered(0.6, decision["arms"])
    assert models.versions() == []
    assert registered(0.66, arms).tags["membership_auc"] == "0.8000"


def test_anybody_can_load_a_bundle_with_plain_mlflow(workspaces: dict[str, Path]) -> None:
    folder = bundle_folder(register(workspaces, "first"))
    script = """
import sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
assert [c.name for c in model.metadata.signature.inputs] == ["history"]
histories = pd.DataFrame({"history": [["i000", "i001"], [], ["never seen"]]})
lists = model.predict(histories, params={"k": 3})
assert [len(row) for row in lists["items"]] == [3, 3, 3], lists
assert not {"i000", "i001"} & set(lists["items"][0])
assert all(list(row) == sorted(row, reverse=True) for row in lists["scores"])
print(sys.modules["augrec"].__file__)
"""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AUGREC_HOME")
    }
    environment |= {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # the interpreter's own packages without the project: what `mlflow models serve` has elsewhere
    hide = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in "
        "str(f).lower()]; "
    )
    hide += (
        f"sys.path = [p for p in sys.path if p and p != {str(Path(base.__file__).parents[2])!r}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide + script, str(folder)],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "artifacts/core/augrec" in done.stdout  # it ran on the code it carries


def test_a_bundle_in_this_process_recommends_what_the_model_does(
    workspaces: dict[str, Path],
) -> None:
    import mlflow.pyfunc

    version = register(workspaces, "first")
    served = mlflow.pyfunc.load_model(str(bundle_folder(version)))
    told = served.predict(
        pd.DataFrame({"history": [["i003", "i001"]]}), params={"k": 5, "exclude_seen": False}
    )
    items, _ = bundle.load(version.version).recommend(
        pl.Series([["i003", "i001"]]), 5, exclude_seen=False
    )
    original, _ = base.load(workspaces["first"] / "models/recommenders/popularity/none").recommend(
        pl.Series([["i003", "i001"]]), 5, exclude_seen=False
    )
    assert list(told["items"][0]) == items[0].tolist() == original[0].tolist()


def test_a_bundle_holds_no_pickle_and_states_its_requirements(workspaces: dict[str, Path]) -> None:
    folder = bundle_folder(register(workspaces, "first"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {
        "",
        ".json",
        ".safetensors",
        ".parquet",
        ".csv",
        ".yaml",
        ".txt",
        ".py",
        ".typed",
    }
    # the first bytes of safetensors are a length, and may be any
    assert not [
        path for path in files if path.suffix != ".safetensors" and path.read_bytes()[:1] == b"\x80"
    ]
    stated = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition("==")[0] for line in stated] == list(bundle._REQUIRED)


def test_a_bundle_knows_what_its_items_are_called(workspaces: dict[str, Path]) -> None:
    version = register(workspaces, "first")
    titles = dict(bundle.items(version.version).select("item_id", "title").iter_rows())
    assert titles.keys() == {*bundle.load(version.version).items.ids, "unmet"}
    assert titles["i003"] == "Title of i003"


def test_a_fetched_copy_answers_without_the_registry(
    workspaces: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(workspaces, "first")
    expected, _ = bundle.load(version.version).recommend(NO_HISTORY, 5)
    bundle.fetch(version.version, tmp_path / "copy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    recommender, items, facts = bundle.open_copy(tmp_path / "copy")
    assert recommender.recommend(NO_HISTORY, 5)[0].tolist() == expected.tolist()
    assert items["title"][0] == f"Title of {items['item_id'][0]}"
    assert (facts["digest"], facts["recommender"]) == (version.digest, version.recommender)


@pytest.mark.parametrize("file", ["model/arrays.safetensors", "items.parquet"])
def test_a_copy_that_was_changed_is_refused(
    workspaces: dict[str, Path], tmp_path: Path, file: str
) -> None:
    bundle.fetch(register(workspaces, "first").version, tmp_path / "copy")
    path = tmp_path / "copy/artifacts" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RefusedError, match="changed since it was fetched"):
        bundle.open_copy(tmp_path / "copy")


@pytest.mark.parametrize(
    "damage", ["changed bytes", "planted pickle", "lost file", "hidden change", "other titles"]
)
def test_a_damaged_bundle_is_refused_and_the_champion_stays(
    workspaces: dict[str, Path], damage: str
) -> None:
    champion = register(workspaces, "first")
    promote(champion, None)
    version = register(workspaces, "second")
    model = bundle_folder(version) / "artifacts/model"
    if damage == "planted pickle":
        (model / "weights.pkl").write_bytes(b"\x80\x04.")
    elif damage == "lost file":
        shutil.rmtree(model)
    elif damage == "other titles":
        items = model.parent / "items.parquet"
        pl.read_parquet(items).with_columns(title=pl.lit("Buy this")).write_parquet(items)
    else:
        arrays = model / "arrays.safetensors"
        arrays.write_bytes(arrays.read_bytes()[:-1] + b"\1")
        if damage == "hidden change":  # whoever changed it wrote the matching digest beside it
            write_json(model.parent / "bundle.json", {"digest": bundle.digest(model)})
    with pytest.raises(RefusedError):
        promote(version, champion)
    with pytest.raises(RefusedError):
        bundle.load(version.version)
    assert models.champion() == models.find(champion.version)
    assert len(promotion.log()) == 1


def test_registering_again_repairs_a_damaged_bundle(workspaces: dict[str, Path]) -> None:
    version = register(workspaces, "first")
    (bundle_folder(version) / "artifacts/model/arrays.safetensors").unlink()
    assert register(workspaces, "first") == version
    assert bundle.sound(version.version)


def test_promotion_moves_the_champion_and_keeps_the_one_before(
    workspaces: dict[str, Path], own_registry: Path
) -> None:
    assert models.champion() is None and models.previous_champion() is None
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    promote(second, first)
    champion, previous = models.champion(), models.previous_champion()
    assert (
        champion is not None
        and champion.version == second.version
        and champion.aliases == (CHAMPION,)
    )
    assert (
        previous is not None
        and previous.version == first.version
        and previous.aliases == (PREVIOUS,)
    )
    assert [(move.version, move.replaced, move.by) for move in promotion.log()] == [
        (first.version, None, "test"),
        (second.version, first.version, "test"),
    ]
    lines = (own_registry / "promotions.jsonl").read_text(encoding="utf-8").strip().split("\n")
    assert [promotion.Promotion(**json.loads(line)) for line in lines] == promotion.log()
    assert [found.aliases for found in models.versions()] == [(CHAMPION,), (PREVIOUS,)]


def test_promoting_the_champion_again_does_nothing(workspaces: dict[str, Path]) -> None:
    first = register(workspaces, "first")
    done = promote(first, None)
    assert promote(first, first) is None
    assert promotion.log() == [done]


def test_a_version_compared_with_another_champion_is_not_promoted(
    workspaces: dict[str, Path],
) -> None:
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    with pytest.raises(RefusedError, match="compared with none"):
        promote(second, None)
    with pytest.raises(InputError, match="no version 99"):
        promotion.promote(99, reason="", by="test", expected_champion=first.version)
    assert models.champion() == models.find(first.version)


def test_rollback_returns_to_the_previous_champion_and_back(workspaces: dict[str, Path]) -> None:
    with pytest.raises(RefusedError, match="no previous champion"):
        promotion.rollback(reason="bad", by="test")
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    with pytest.raises(RefusedError, match="no previous champion"):
        promotion.rollback(reason="bad", by="test")
    promote(second, first)
    assert promotion.rollback(reason="bad", by="test").version == first.version
    assert promotion.rollback(reason="was good", by="test").version == second.version
    champion, previous = models.champion(), models.previous_champion()
    assert champion is not None and previous is not None
    assert (champion.version, previous.version) == (second.version, first.version)
    assert [move.kind for move in promotion.log()] == ["promote", "promote", "rollback", "rollback"]


def delete(version: Version, var: Path, dangling: bool) -> None:
    """Delete a version in MLflow; its aliases go with it, unless the database keeps them."""
    aliases = models.named(CHAMPION).aliases  # type: ignore[union-attr]
    client().delete_model_version(MODEL, version.version)
    with closing(sqlite3.connect(var / "mlflow/mlflow.db")) as database, database:
        rows = [(MODEL, alias, version.version) for alias in aliases if dangling]
        database.executemany(
            "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, ?, ?)", rows
        )


@pytest.mark.parametrize("dangling", [False, True])
def test_a_deleted_champion_is_not_forgotten(
    workspaces: dict[str, Path], own_registry: Path, tmp_path: Path, dangling: bool
) -> None:
    """The one before it stands in for it, keeps its alias, and the way back stays open."""
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    promote(second, first)
    delete(second, own_registry, dangling)
    found, lost = promotion.standing()
    assert found is not None and (found.version, lost) == (first.version, second.version)
    own = {"third": make_workspace(tmp_path, seed=5)}
    third = register(own, "third")
    compared = compare_with_champion(own["third"], third.version)
    assert compared["outcome"] == "compared" and compared["lost_champion"] == second.version
    assert compared["champion"]["version"] == first.version
    promote(third, first)
    champion, previous = models.champion(), models.previous_champion()
    assert champion is not None and previous is not None
    assert (champion.version, previous.version) == (third.version, first.version)
    assert promotion.standing() == (champion, None)
    assert promotion.rollback(reason="bad", by="test").version == first.version


@pytest.mark.parametrize("dangling", [False, True])
def test_a_rollback_from_a_deleted_champion_returns_to_the_one_before(
    workspaces: dict[str, Path], own_registry: Path, dangling: bool
) -> None:
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    promote(second, first)
    delete(second, own_registry, dangling)
    assert promotion.rollback(reason="it is gone", by="test").version == first.version
    champion = models.champion()
    assert champion is not None and champion.version == first.version
    assert models.previous_champion() is None and promotion.standing()[1] is None


def plant_move(first: Version, second: Version) -> None:
    """What promoting `second` over `first` writes before it touches an alias."""
    move = promotion.Promotion(
        2,
        "promote",
        second.version,
        first.version,
        None,
        "better",
        "killed",
        "2026-01-01T00:00:00+00:00",
    )
    client().set_registered_model_tag(MODEL, "pending_promotion", json.dumps(vars(move)))


def test_a_move_killed_before_the_champion_changed_is_undone(workspaces: dict[str, Path]) -> None:
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    plant_move(first, second)
    client().set_registered_model_alias(MODEL, PREVIOUS, first.version)
    with pytest.raises(RefusedError, match="no previous champion"):
        promotion.rollback(reason="bad", by="test")
    assert models.previous_champion() is None
    promote(second, first)
    assert [move.by for move in promotion.log()] == ["test", "test"]
    assert promotion.rollback(reason="bad", by="test").version == first.version


def test_a_move_killed_after_the_champion_changed_is_finished(workspaces: dict[str, Path]) -> None:
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    plant_move(first, second)
    client().set_registered_model_alias(MODEL, PREVIOUS, first.version)
    client().set_registered_model_alias(MODEL, CHAMPION, second.version)
    assert promote(second, first) is None  # the same task, tried again
    assert [move.by for move in promotion.log()] == ["test", "killed"]
    assert promotion.rollback(reason="bad", by="test").version == first.version


def test_a_version_is_tried_out_until_it_is_champion_or_withdrawn(
    workspaces: dict[str, Path],
) -> None:
    first, second = register(workspaces, "first"), register(workspaces, "second")
    promote(first, None)
    assert promotion.challenge(second.version) is None
    assert mlflow_versions.aliases()["challenger"] == second.version
    with pytest.raises(RefusedError, match="is the champion itself"):
        promotion.challenge(first.version)
    with pytest.raises(InputError, match="no version 99"):
        promotion.challenge(99)
    assert (
        promotion.challenge(None) == second.version
        and "challenger" not in mlflow_versions.aliases()
    )
    assert (
        promotion.challenge(None) is None and mlflow_versions.aliases()["champion"] == first.version
    )
    promotion.challenge(second.version)
    promote(second, first)
    assert mlflow_versions.aliases() == {CHAMPION: second.version, PREVIOUS: first.version}


def test_two_processes_promoting_at_once_leave_one_valid_history(
    workspaces: dict[str, Path],
) -> None:
    first, second, third = (register(workspaces, name) for name in ("first", "second", "other"))
    promote(first, None)
    script = """
import sys
from augrec.core.errors import RefusedError
from augrec.registry import promotion
try:
    promotion.promote(sys.argv[1], reason="race", by="process", expected_champion=sys.argv[2])
except RefusedError:
    sys.exit(7)
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, version.version, first.version], env=dict(os.environ)
        )
        for version in (second, third)
    ]
    assert sorted(racer.wait() for racer in racers) == [0, 7]
    champion, previous, moves = models.champion(), models.previous_champion(), promotion.log()
    assert champion is not None and previous is not None
    assert [move.version for move in moves] == [first.version, champion.version]
    assert previous.version == first.version
    assert champion.version in (second.version, third.version)


def test_a_new_version_is_compared_with_a_champion_of_another_kind_and_catalogue(
    workspaces: dict[str, Path],
) -> None:
    champion, version = register(workspaces, "other"), register(workspaces, "first")
    assert (
        compare_with_champion(workspaces["other"], champion.version)["outcome"] == "first_champion"
    )
    promote(champion, None)
    assert compare_with_champion(workspaces["other"], champion.version)["outcome"] == "same_version"
    found = compare_with_champion(workspaces["first"], version.version)
    assert found["outcome"] == "compared"
    assert found["champion"] == {
        "version": champion.version,
        "recommender": "ease",
        "policy": "none",
    }
    assert found["comparison"]["n_users"] == 40
    assert found["comparison"]["better"]  # the champion knows none of this shop's items
    json.dumps(found, allow_nan=False)


def test_a_first_model_is_compared_with_popularity(
    workspaces: dict[str, Path],
) -> None:
    ease = register(workspaces, "other")
    found = compare_with_champion(workspaces["other"], ease.version)
    assert found["outcome"] == "first_champion" and found["comparison"]["n_users"] == 40
    told = found["comparison"]
    assert found["promotable"] == (told["difference"] >= -0.01 * told["champion_mean"])
    popularity = compare_with_champion(workspaces["first"], register(workspaces, "first").version)
    assert popularity["promotable"] and popularity["comparison"] is None


def test_other_moments_or_targets_are_other_cases(
    workspaces: dict[str, Path], tmp_path: Path
) -> None:
    champion = register(workspaces, "second")
    promote(champion, None)
    own = {"own": make_workspace(tmp_path, seed=5)}
    version = register(own, "own")
    folder = own["own"] / "data/training_set"
    report = own["own"] / "reports/evaluation/popularity/none/metrics.json"
    metrics = read_json(report)
    metrics["test"]["cases"] = digest(folder, "cases_test.parquet")
    write_json(report, metrics)
    assert compare_with_champion(own["own"], version.version)["outcome"] == "compared"
    cases = pl.read_parquet(folder / "cases_test.parquet")
    write_parquet(
        folder / "cases_test.parquet",
        cases.with_columns(pl.col("moment") + pl.duration(days=1)),
    )
    with pytest.raises(InputError, match="measured on other test cases"):
        compare_with_champion(own["own"], version.version)


def test_where_only_new_items_are_wanted_the_champion_is_asked_for_those_too(
    workspaces: dict[str, Path], tmp_path: Path
) -> None:
    own = {"cold": make_workspace(tmp_path / "cold", seed=1)}
    champion, version = register(workspaces, "second"), register(own, "cold")
    promote(champion, None)
    prepared = own["cold"] / "data/prepared"
    train = pl.read_parquet(prepared / "train.parquet")
    write_parquet(prepared / "train.parquet", train.filter(pl.col("item_id") < "i020"))
    write_json(prepared / "split.json", {"rules": {"new_items": True}})
    found = compare_with_champion(own["cold"], version.version)["comparison"]
    model = bundle.load(champion.version)
    cases = pl.read_parquet(own["cold"] / "data/training_set/cases_test.parquet")
    new, everything = (
        evaluate(model, cases, [10], among=among)["ndcg@10"].mean()
        for among in (model.items.ids >= "i020", None)
    )
    assert found["champion_mean"] == pytest.approx(new) != pytest.approx(everything)


def test_a_rebuilt_workspace_is_identical_or_says_what_differs(
    workspaces: dict[str, Path], tmp_path: Path
) -> None:
    version = register(workspaces, "first")
    wanted = rebuild_check.expected(version, models.metrics(version))
    assert wanted.commit == COMMIT
    report = rebuild_check.compare_workspace(wanted, workspaces["first"])
    assert report.identical and report.compared > 20
    other = rebuild_check.compare_workspace(wanted, workspaces["second"])
    assert not other.identical and other.same_model is False and "data/raw" in other.data
    assert all(difference.expected != difference.rebuilt for difference in other.differences)


def test_no_champion_is_an_answer_and_an_unknown_alias_an_error() -> None:
    assert models.champion() is None
    assert models.versions() == [] and promotion.log() == []
    with pytest.raises(InputError, match="no version has the alias"):
        models.load()


def test_the_model_trained_on_all_interactions_serves_and_the_measured_one_is_compared(
    workspaces: dict[str, Path], tmp_path: Path
) -> None:
    import mlflow.pyfunc

    version = register(workspaces, "refit")
    serving, measured = bundle.load(version.version), bundle.load_measured(version.version)
    assert any(item.startswith("later-") for item in serving.items.ids)
    assert not any(item.startswith("later-") for item in measured.items.ids)
    bundle.fetch(version.version, tmp_path / "copy")
    copied, items, facts = bundle.open_copy(tmp_path / "copy")
    assert copied.items.ids.tolist() == serving.items.ids.tolist()
    assert set(copied.items.ids) <= set(items["item_id"])
    assert facts["digest"] == version.serving_digest != version.digest
    bundle.export(version.version, tmp_path / "measured")
    assert base.load(tmp_path / "measured").items.ids.tolist() == measured.items.ids.tolist()
    assert bundle.digest(tmp_path / "measured") == version.digest
    plain = mlflow.pyfunc.load_model(str(bundle_folder(version)))
    told = plain.predict(pd.DataFrame({"history": [[]]}), params={"k": 5})
    assert list(told["items"][0]) == serving.recommend(NO_HISTORY, 5)[0][0].tolist()
    promote(version, None)
    other = register(workspaces, "first")
    against = compare_with_champion(workspaces["first"], other.version)
    assert against["champion"]["version"] == version.version


def test_the_same_measured_model_with_other_later_interactions_is_another_version(
    workspaces: dict[str, Path], tmp_path: Path
) -> None:
    first = register(workspaces, "refit")
    assert register(workspaces, "refit").version == first.version
    changed = shutil.copytree(workspaces["refit"], tmp_path / "changed")
    shutil.rmtree(changed / "models/refit")
    tracking.log_run(changed, "changed", commit=COMMIT)
    second = models.register(changed, "changed", COMMIT, decision_of(changed))
    assert second.version != first.version
    assert second.digest == first.digest == second.serving_digest != first.serving_digest


def test_a_damaged_model_of_all_interactions_is_refused(workspaces: dict[str, Path]) -> None:
    version = register(workspaces, "refit")
    file = bundle_folder(version) / "artifacts/refit/arrays.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(RefusedError, match="changed"):
        bundle.load(version.version)
    assert bundle.sound(register(workspaces, "refit").version)
