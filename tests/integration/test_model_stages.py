"""The stages train, evaluate and decide in a workspace of their own, one after the other."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from configured import write_params

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.evaluation.heads import evaluate_heads
from augrec.recommenders._heads import HasHeads
from augrec.recommenders.base import load
from augrec.stages import decide, evaluate, refit, train

POLICIES = {"none": ("real", []), "bootstrap": ("placebo", []), "gan": ("generated", ["gan"])}
STEPS = {"bootstrap": [{"bootstrap": {"ratio": 0.5}}]}
RECOMMENDERS = {
    "popularity": {},
    "ease": {"l2": 10.0},
    "multvae": {"hidden": 8, "latent": 4, "steps": 12, "eval_every": 4},
    "mmoe": {
        "factors": 4,
        "experts": 2,
        "hidden": 4,
        "steps": 6,
        "eval_every": 3,
        "batch_size": 16,
    },
}
RULES = {"order": "global", "users_held_out": True, "new_items": False}
TEST_FROM = "2024-01-20T00:00:00+00:00"
PARAMS: dict[str, Any] = {
    "seed": 5,
    "run": {"generators": ["gan"], "policies": list(POLICIES), "recommenders": list(RECOMMENDERS)},
    "policies": {name: [] for name in POLICIES},
    "recommenders": RECOMMENDERS,
    "evaluation": {"cutoffs": [3, 5]},
    "gate": {"metric": "ndcg@5", "bootstrap_samples": 100, "min_users": 5},
}


def interactions(seed: int, n_users: int = 40) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    users, items = np.nonzero(random.random((n_users, 15)) < 0.6 / np.arange(1, 16) ** 0.5)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user_id": [f"s{seed}u{user:02}" for user in users],
            "item_id": [f"i{item:02}" for item in items],
            "event": "click",
            "value": None,
            "timestamp": [start + timedelta(minutes=row) for row in range(len(users))],
            "origin": "real",
            "weight": 1.0,
        },
        schema_overrides={"value": pl.Float32, "timestamp": TIME, "weight": pl.Float32},
    )


def cases(seed: int) -> pl.DataFrame:
    lists = (
        interactions(seed, 30)
        .group_by("user_id", maintain_order=True)
        .agg("item_id")
        .filter(pl.col("item_id").list.len() > 3)
    )
    return lists.select(
        "user_id",
        slice=pl.lit("1-5"),
        moment=pl.lit(datetime(2024, 2, 1, tzinfo=UTC)).cast(TIME),
        history=pl.col("item_id").list.head(2),
        targets=pl.col("item_id").list.slice(2),
    )


def write_workspace(folder: Path) -> None:
    write_params(folder, PARAMS)
    prepared = folder / "data/prepared"
    prepared.mkdir()
    interactions(1).write_parquet(prepared / "train.parquet")
    all_users = pl.concat([interactions(1), *(interactions(seed, 30) for seed in (2, 3))])
    all_users.write_parquet(prepared / "interactions.parquet")
    all_users.write_parquet(prepared / "events.parquet")
    (prepared / "split.json").write_text(json.dumps({"rules": RULES, "test_from": TEST_FROM}))
    items = [f"i{item:02}" for item in range(15)]
    pl.DataFrame({"item_id": items, "title": items}).write_parquet(prepared / "items.parquet")
    all_users.select("user_id").unique(maintain_order=True).write_parquet(
        prepared / "users.parquet"
    )
    cases(2).write_parquet(prepared / "cases_valid.parquet")
    known = folder / "data/training_set"
    known.mkdir()
    interactions(1).select("user_id").unique(maintain_order=True).write_parquet(
        known / "users.parquet"
    )
    interactions(1).with_columns(user__n=1.0, item__n=2.0).write_parquet(
        known / "interactions.parquet"
    )
    for split, seed in (("valid", 2), ("test", 3)):
        cases(seed).write_parquet(known / f"cases_{split}.parquet")
    for policy, (kind, samples) in POLICIES.items():
        target = folder / "data/augmented" / policy
        target.mkdir(parents=True)
        rows = (
            interactions(1) if policy == "none" else pl.concat([interactions(1), interactions(9)])
        )
        rows.write_parquet(target / "interactions.parquet")
        facts = {"policy": policy, "kind": kind, "samples": samples, "n_rows": len(rows)}
        facts["steps"] = STEPS.get(policy, [])
        (target / "policy.json").write_text(json.dumps(facts))
    audit = folder / "reports/audit/gan"
    audit.mkdir(parents=True)
    (audit / "audit.json").write_text(
        json.dumps({"generator": "gan", "passed": True, "failed_limits": []})
    )


def run_stages() -> None:
    for recommender in RECOMMENDERS:
        for policy in POLICIES:
            train.main(recommender, policy)
            evaluate.main(recommender, policy)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    write_workspace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_stages()
        decide.main()
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("models", "reports/evaluation", "reports/decision.json")
        for path in sorted([folder / part, *(folder / part).rglob("*")])
        if path.is_file()
    }


def read(folder: Path, path: str) -> Any:
    return json.loads((folder / path).read_text())


def test_training_leaves_a_model_a_curve_and_its_facts(finished):
    for recommender in RECOMMENDERS:
        folder = finished / "models/recommenders" / recommender / "gan"
        facts = read(folder, "training.json")
        assert facts["policy"] == {
            "policy": "gan",
            "kind": "generated",
            "samples": ["gan"],
            "steps": [],
            "n_rows": facts["n_rows"],
        }
        assert facts["items"] == 15
        assert "step" in pl.read_csv(folder / "curve.csv").columns
    curve = pl.read_csv(finished / "models/recommenders/multvae/none/curve.csv")
    assert curve["step"].to_list() == [4, 8, 12]
    assert read(finished, "models/recommenders/multvae/none/training.json")["best_step"] in (
        4,
        8,
        12,
    )


def test_evaluation_keeps_a_row_for_each_case_and_the_means_over_users(finished):
    folder = finished / "reports/evaluation/ease/none"
    table, metrics = pl.read_parquet(folder / "per_user.parquet"), read(folder, "metrics.json")
    assert table.columns[:3] == ["split", "user_id", "slice"]
    test = table.filter(pl.col("split") == "test")
    assert len(test) == len(cases(3))
    assert metrics["test"]["overall"]["ndcg@5"] == pytest.approx(test["ndcg@5"].mean())
    assert (
        metrics["test"]["overall"]["n_users"]
        == metrics["test"]["slices"]["1-5"]["n_users"]
        == len(test)
    )
    assert 0 < metrics["valid"]["catalogue"]["coverage@5"] <= 1


def test_of_a_recommender_with_heads_it_is_kept_how_good_they_are(finished):
    folder = finished / "reports/evaluation/mmoe/none"
    table, metrics = pl.read_parquet(folder / "heads.parquet"), read(folder, "metrics.json")
    for split, seed in (("valid", 2), ("test", 3)):
        own, numbers = table.filter(pl.col("split") == split), metrics[split]["heads"]["click"]
        assert own["user_id"].to_list() == cases(seed)["user_id"].to_list()
        assert own["n"].sum() == numbers["n"] == cases(seed)["targets"].list.len().sum()
        assert 0 < numbers["auc"] < 1
        assert numbers["log_loss"] > 0
    # the draws follow from the run's seed and not from a model's, so that models are asked about
    # the same items
    model = load(finished / "models/recommenders/mmoe/none")
    assert isinstance(model, HasHeads) and model.seed != PARAMS["seed"]
    asked = (
        pl.read_parquet(finished / path)
        for path in ("data/training_set/cases_test.parquet", "data/prepared/events.parquet")
    )
    assert metrics["test"]["heads"] == evaluate_heads(model, *asked, PARAMS["seed"])[1]
    assert set(metrics["test"]["heads"]["click"]["slices"]) == {"1-5"}
    assert "heads" not in read(finished, "reports/evaluation/ease/none/metrics.json")["test"]
    assert not (finished / "reports/evaluation/ease/none/heads.parquet").exists()


def test_groups_are_decided_about_where_there_are_tables_of_them(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shutil.copytree(finished, tmp_path / "workspace")
    before = (here / "reports/decision.json").read_bytes()
    assert b"together" not in before
    assert "decide together" not in (here / "reports/report.html").read_text()
    prepared, moment = here / "data/prepared", datetime(2024, 2, 1, tzinfo=UTC)
    rows = [(f"g{n}", f"i{n % 15:02}", period) for n in range(30) for period in ("valid", "test")]
    pl.DataFrame(
        {
            "group_id": [one[0] for one in rows],
            "item_id": [one[1] for one in rows],
            "timestamp": pl.Series([moment] * len(rows)).cast(TIME),
            "period": [one[2] for one in rows],
        }
    ).write_parquet(prepared / "group_choices.parquet")
    members = [(f"g{n}", f"s1u{user:02}") for n in range(30) for user in (n, n + 1)]
    pl.DataFrame(members, schema=["group_id", "user_id"], orient="row").write_parquet(
        prepared / "groups.parquet"
    )
    pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String}).write_parquet(
        prepared / "group_withheld.parquet"
    )
    monkeypatch.chdir(here)
    decide.main()
    decision = read(here, "reports/decision.json")
    assert decision["together"]["n_groups"] == 30
    page = (here / "reports/report.html").read_text()
    assert "People who decide together" in page and "30 groups with 60 choices" in page
    del decision["together"]
    assert decision == json.loads(before)


def test_the_decision_rests_on_every_arm_of_the_run(finished):
    decision = read(finished, "reports/decision.json")
    assert len(decision["arms"]) == len(RECOMMENDERS) * len(POLICIES)
    assert {arm["kind"] for arm in decision["arms"]} == {"real", "placebo", "generated"}
    assert decision["audits"] == {"gan": {"passed": True, "failed_limits": []}}
    assert (finished / decision["winner"]["model"] / "component.json").exists()
    assert (finished / "reports/report.html").stat().st_size > 1000
    arm = next(
        arm for arm in decision["arms"] if (arm["recommender"], arm["policy"]) == ("ease", "gan")
    )
    metrics = read(finished, "reports/evaluation/ease/gan/metrics.json")
    told = {part: metrics["valid"][part] for part in ("overall", "slices", "catalogue")}
    assert {"valid": arm["valid"], "test": arm["test"]} == {"valid": told, "test": metrics["test"]}
    assert {"items", "groups", "time"} < set(arm["test"])


def test_where_only_new_items_are_wanted_no_other_takes_a_place(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    prepared = Path("data/prepared")
    (prepared / "split.json").write_text(json.dumps({"rules": RULES | {"new_items": True}}))
    train_rows = pl.read_parquet(prepared / "train.parquet").filter(
        ~pl.col("item_id").is_in(["i03", "i07"])
    )
    train_rows.write_parquet(prepared / "train.parquet")
    evaluate.main("popularity", "none")
    groups = read(Path(), "reports/evaluation/popularity/none/metrics.json")["test"]["items"][
        "popularity"
    ]["groups"]
    assert groups["new"]["items"] == 2
    assert groups["new"]["exposure@5"] == 1.0


def test_checkpoints_are_chosen_as_the_model_is_judged(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    write_params(Path(), PARAMS | {"tuning": {"metric": "recall@5"}})
    prepared = Path("data/prepared")
    (prepared / "split.json").write_text(json.dumps({"rules": RULES | {"new_items": True}}))
    rows = pl.read_parquet(prepared / "train.parquet")
    new = [f"i{item:02}" for item in range(4, 15)]
    rows.filter(~pl.col("item_id").is_in(new)).write_parquet(prepared / "train.parquet")
    train.main("multvae", "none")
    evaluate.main("multvae", "none")
    curve = pl.read_csv("models/recommenders/multvae/none/curve.csv")["recall@5"]
    judged = read(Path(), "reports/evaluation/multvae/none/metrics.json")["valid"]["overall"][
        "recall@5"
    ]
    assert 0 < judged == pytest.approx(curve.max())


def test_the_same_rows_under_two_names_give_equal_models_and_no_win(finished):
    """`bootstrap` and `gan` were given the same rows here."""
    for recommender in RECOMMENDERS:
        files = [
            (
                finished / "models/recommenders" / recommender / policy / "arrays.safetensors"
            ).read_bytes()
            for policy in ("bootstrap", "gan")
        ]
        assert files[0] == files[1]
    assert read(finished, "reports/decision.json")["verdict"] == "no_generated"


def test_running_all_again_gives_the_same_bytes(finished, tmp_path, monkeypatch):
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_stages()
    decide.main()
    assert outputs(tmp_path) == outputs(finished)


def test_only_what_takes_part_in_the_run_is_read(finished, tmp_path, monkeypatch):
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = PARAMS | {
        "run": {"generators": [], "policies": ["none"], "recommenders": ["popularity"]}
    }
    write_params(tmp_path, params)
    train.main("popularity", "none")
    evaluate.main("popularity", "none")
    broken = tmp_path / "reports/evaluation/ease/none"
    broken.mkdir(parents=True)
    (broken / "metrics.json").write_text("left by another run")
    decide.main()
    decision = read(tmp_path, "reports/decision.json")
    assert [(arm["recommender"], arm["policy"]) for arm in decision["arms"]] == [
        ("popularity", "none")
    ]
    assert decision["audits"] == {}


def test_a_missing_result_is_named(tmp_path, monkeypatch):
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"training\.json"):
        decide.main()


def test_an_unknown_recommender_is_refused(tmp_path, monkeypatch):
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="oracle") as caught:
        train.main("oracle", "none")
    assert "add `- oracle` to run.recommenders" in caught.value.fix


def serve(folder: Path, recommender: str, policy: str) -> Any:
    """What the stage refit says of this winner."""
    decision = read(folder, "reports/decision.json")
    decision["winner"] |= {"recommender": recommender, "policy": policy}
    (folder / "reports/decision.json").write_text(json.dumps(decision))
    refit.main()
    return read(folder, "models/refit/refit.json")


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("recommender", ["popularity", "ease", "multvae"])
def test_the_winner_is_trained_once_more_on_all_interactions(copied: Path, recommender: str):
    facts = serve(copied, recommender, "none")
    everything = pl.read_parquet("data/prepared/interactions.parquet")
    assert facts["n_rows"] == len(everything)
    assert facts["n_users"] == everything["user_id"].n_unique()
    model, measured = load(refit.MODEL), load(Path("models/recommenders", recommender, "none"))
    shares = everything["item_id"].value_counts(normalize=True)
    found = dict(zip(model.items.ids.tolist(), model.popularity.tolist(), strict=True))
    assert found == pytest.approx(dict(shares.iter_rows()), abs=1e-6)
    assert not np.array_equal(model.popularity, measured.popularity)
    chosen = read(copied, f"models/recommenders/{recommender}/none/training.json")["tuning"]
    for key, value in ((chosen or {}).get("chosen") or {}).items():
        assert getattr(model.config, key) == facts["values"][key] == value


def test_the_policy_of_the_winner_is_applied_to_all_interactions(copied: Path):
    facts = serve(copied, "ease", "bootstrap")
    assert facts["n_rows"] > len(pl.read_parquet("data/prepared/interactions.parquet"))


def test_without_it_the_measured_model_serves_and_the_reason_is_kept(copied: Path):
    write_params(copied, PARAMS | {"run": PARAMS["run"] | {"refit": False}})
    assert serve(copied, "ease", "none") == {"refit": False, "reason": "run.refit is false"}
    assert not refit.MODEL.exists()


def test_a_winner_that_cannot_take_all_interactions_serves_as_it_was_measured(copied: Path):
    config = read(copied, "data/config/recommenders/ease.json")
    config["config"]["max_items"] = 3
    (copied / "data/config/recommenders/ease.json").write_text(json.dumps(config))
    facts = serve(copied, "ease", "none")
    assert not facts["refit"] and "max_items" in facts["reason"]
    assert not refit.MODEL.exists()


def test_the_decision_says_that_its_numbers_are_of_models_with_fewer_rows(finished: Path):
    sentence = read(finished, "reports/decision.json")["sentences"][-1]
    counts = [
        len(pl.read_parquet(finished / f"data/prepared/{name}.parquet"))
        for name in ("train", "interactions")
    ]
    assert f"{counts[0]:,} of {counts[1]:,} interactions" in sentence
