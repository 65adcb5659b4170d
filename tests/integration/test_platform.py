"""The main job end to end, under a real Airflow with real MLflow, Feast, DVC and Great
Expectations, on a small shop.

One project and one platform serve all tests of this file; runs that do not depend on each other are
started together.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import platform_runs
import polars as pl
import pytest
from platform_project import Project, Repro, Run, shop
from platform_runs import State, Together, hang_together

from augrec.core.errors import ConfigError
from augrec.core.files import read_json
from augrec.orchestration.addresses import report_url
from augrec.registry import models, promotion
from augrec.versioning import git

pytestmark = pytest.mark.platform

TINY = {"policies": ["popularity_random"], "generators": ["profile_gan"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with shop(tmp_path_factory.mktemp("platform")) as made, made.platform():
        yield made


@pytest.fixture(scope="module")
def alone(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repro]:
    """`dvc repro`, beside the runs, in a clone that knows nothing of what they have cached."""
    home = tmp_path_factory.mktemp("alone") / "shop"
    made = Repro(project, home, project.home / "data" / "raw")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def first(project: Project, alone: Repro) -> Run:
    alone.begin("HEAD")
    return project.run("first")


def test_the_whole_job_runs_under_airflow(first: Run) -> None:
    assert first.state == "success", first.why
    assert {found.state for found in first.tasks if found.task != "approve"} == {"success"}
    decision = read_json(first.path / "reports" / "decision.json")
    assert {(arm["recommender"], arm["policy"]) for arm in decision["arms"]} == {
        (recommender, policy)
        for recommender in ("popularity", "multvae")
        for policy in ("none", "popularity_random", "profile_gan")
    }
    for arm in decision["arms"]:
        users = {name: found["n_users"] for name, found in arm["test"]["slices"].items()}
        assert all(users[name] > 0 for name in ("0", "1-5", "6-20", "21+")), users


def test_it_ends_with_a_champion_that_answers(project: Project, first: Run) -> None:
    winner = read_json(first.path / "reports" / "decision.json")["winner"]
    champion = models.champion()
    assert champion is not None and champion.run_id == first.id
    assert (champion.recommender, champion.policy) == (winner["recommender"], winner["policy"])
    seen = pl.read_parquet(project.home / "data" / "raw" / "interactions.parquet").sort("timestamp")
    user = seen["user_id"].value_counts(sort=True)["user_id"][0]
    history = seen.filter(pl.col("user_id") == user)["item_id"].to_list()
    items, _ = models.load().recommend(pl.Series([history], dtype=pl.List(pl.String)), 5)
    said = project.augrec("recommend", "--user", user, "-k", "5")
    assert len(items[0]) == 5 and not set(items[0]) & set(history)
    assert all(item in said for item in items[0]), said


def test_the_champions_commit_holds_what_it_was_made_from(project: Project, first: Run) -> None:
    champion = models.champion()
    assert champion is not None
    tagged = git.git(project.home, "rev-parse", f"run/{first.id}^{{commit}}")
    assert champion.commit == tagged
    assert (
        git.git(project.home, "show", f"{tagged}:params.yaml")
        == (first.path / "params.yaml").read_text().rstrip()
    )
    recorded = git.git(project.home, "show", f"{tagged}:dvc.lock")
    assert recorded == (first.path / "dvc.lock").read_text().rstrip()
    assert git.changes(project.home) == []


def test_the_online_store_answers_with_the_runs_features(project: Project, first: Run) -> None:
    from augrec.features import store

    table = pl.read_parquet(first.path / "data" / "features" / "user_features.parquet")
    newest = table.sort("event_timestamp").group_by("user_id").last().sort("user_id").head(20)
    feast = store.open_store(first.path, online_store=project.settings.online_store)
    found = store.online(feast, users=newest["user_id"].to_list())
    counts = [name for name in newest.columns if name.startswith(("events_", "count_", "n_"))] or [
        name for name, kind in newest.schema.items() if kind.is_numeric()
    ]
    for name in counts:
        assert found[f"user__{name}"].to_list() == pytest.approx(
            newest[name].to_list(), nan_ok=True
        )


def test_reports_are_served_and_nothing_else(project: Project, first: Run) -> None:
    assert "</html>" in project.page(report_url(first.id, "report.html")).text
    for link in project.airflow.links("retrain", first.id, "decide").values():
        answer = project.page(link)
        assert answer.status_code == 200 and "html" in answer.headers["content-type"]
    served = f"{project.settings.airflow_url}/augrec/runs"
    for path in (
        f"{first.id}/no-such-page.html",
        f"{first.id}/..%2fparams.yaml",
        f"{first.id}/..%2f..%2f{first.id}.json",
        f"{first.id}/%2fetc%2fpasswd",
        "..%2fairflow%2fpasswords.json/x",
        "..%2f..%2freports/report.html",
        ".%2f/reports/report.html",
        f"{first.id}/",
    ):
        assert project.page(f"{served}/{path}").status_code == 404, path


def test_a_report_needs_the_login_of_airflow(first: Run) -> None:
    report = report_url(first.id, "report.html")
    assert httpx.get(report).status_code == 401
    assert httpx.get(report, headers={"Authorization": "Bearer made-up"}).status_code == 403
    browser = httpx.get(report, headers={"Accept": "text/html"})
    assert browser.status_code == 303
    assert browser.headers["location"].startswith("/api/v2/auth/login?next=http")


def test_dvc_repro_alone_makes_the_same_files(first: Run, alone: Repro) -> None:
    assert first.state == "success" and len(first.hashes) > 100
    assert alone.finish() == first.hashes


@pytest.fixture(scope="module")
def unchanged(project: Project, first: Run) -> Together:
    before = State.of(project)
    project.start("again")
    project.start("dry", dry_run=True)
    project.start("unknown", polices=["none"])
    runs = {name: project.ended(name) for name in ("again", "dry", "unknown")}
    return Together(before, State.of(project), runs)


def test_a_second_run_with_nothing_changed_restores_every_stage(
    project: Project, first: Run, unchanged: Together
) -> None:
    again = unchanged.runs["again"]
    assert again.state == "success", again.why
    stages = [
        found
        for found in again.tasks
        if project.airflow.links("retrain", again.id, found.task, found.map_index)
    ]
    outcomes = {
        f"{found.task} {found.member}": project.airflow.result(
            "retrain", again.id, found.task, found.map_index
        )
        for found in stages
    }
    assert len(outcomes) > 20 and set(outcomes.values()) == {"restored"}, outcomes
    assert again.hashes == first.hashes


def test_a_second_run_with_nothing_changed_registers_no_second_version(unchanged: Together) -> None:
    assert unchanged.runs["again"].states("promote") == {"skipped"}
    assert len(unchanged.after.versions) == 1
    assert unchanged.after.versions == unchanged.before.versions
    assert unchanged.after.promotions == unchanged.before.promotions


def test_a_dry_run_reports_everything_and_registers_nothing(
    first: Run, unchanged: Together
) -> None:
    dry = unchanged.runs["dry"]
    assert dry.state == "success", dry.why
    assert dry.hashes == first.hashes
    assert (dry.path / "reports" / "report.html").exists()
    for task in ("materialize", "publish", "register", "promote"):
        assert dry.states(task) == {"skipped"}
    assert unchanged.after.tags == [*unchanged.before.tags, "run/again"]
    assert unchanged.after.online == unchanged.before.online


def test_an_unknown_parameter_fails_at_once_and_says_what_is_known(unchanged: Together) -> None:
    unknown = unchanged.runs["unknown"]
    assert unknown.state == "failed" and unknown.states("snapshot") == {"failed"}
    assert [found.try_number for found in unknown.tasks if found.task == "snapshot"] == [1]
    assert "unknown parameter: polices" in unknown.why
    assert "did you mean policies? known: " in unknown.why
    assert not unknown.path.exists()


def test_a_value_the_form_does_not_offer_is_refused_by_the_api(
    project: Project, first: Run
) -> None:
    choices: list[dict[str, Any]] = [
        {"policies": ["magic"]},
        {"policies": []},
        {"max_synthetic_ratio": -1},
        {"dry_run": "perhaps"},
    ]
    for wrong in choices:
        with pytest.raises(ConfigError, match=f"Airflow refused: .*{next(iter(wrong))}"):
            project.start("wrong", **wrong)
    assert "wrong" not in {
        run["dag_run_id"] for run in project.airflow.latest_runs("retrain", limit=50)
    }


@pytest.fixture(scope="module")
def at_once(project: Project, unchanged: Together) -> Together:
    before = State.of(project)
    project.start("quarter", recommenders=["popularity"], max_synthetic_ratio=0.25, **TINY)
    project.start("half", recommenders=["multvae"], max_synthetic_ratio=0.5, **TINY)
    runs = {name: project.ended(name) for name in ("quarter", "half")}
    return Together(before, State.of(project), runs)


def test_two_runs_at_once_do_not_disturb_each_other(at_once: Together) -> None:
    wanted = {"quarter": ("popularity", 0.25), "half": ("multvae", 0.5)}
    for name, (recommender, ratio) in wanted.items():
        run = at_once.runs[name]
        assert run.state == "success", run.why
        augmented = read_json(run.path / "data" / "augmented" / "popularity_random" / "policy.json")
        assert augmented["n_added_users"] == pytest.approx(ratio * augmented["n_real_users"], abs=1)
        decision = read_json(run.path / "reports" / "decision.json")
        assert {arm["recommender"] for arm in decision["arms"]} == {recommender}
        assert [path.name for path in (run.path / "models" / "recommenders").iterdir()] == [
            recommender
        ]


def test_runs_at_once_leave_one_champion_and_a_log_without_gaps(at_once: Together) -> None:
    new = {
        version.run_id: version
        for version in at_once.after.versions
        if version.run_id in at_once.runs
    }
    assert set(new) == set(at_once.runs)
    hang_together(at_once.after)


@pytest.fixture(scope="module")
def killed(project: Project, alone: Repro, at_once: Together) -> str:
    run_id = platform_runs.kill_two_stages(project)
    alone.begin(f"refs/tags/run/{run_id}")
    return run_id


def test_a_killed_stage_and_a_killed_task_are_tried_again(project: Project, killed: str) -> None:
    tasks = project.look(killed).tasks
    assert [task.try_number for task in tasks if task.task == "train_generator"] == [2]
    assert sorted(task.try_number for task in tasks if task.task == "train") == [1, 2]
    assert {
        task.try_number for task in tasks if task.task in {"synthesize", "evaluate", "decide"}
    } == {1}


@pytest.fixture(scope="module")
def rejected(project: Project, killed: str) -> Together:
    before = State.of(project)
    project.answer(killed, "Reject", "odd lists")
    runs = {"killed": project.ended(killed)}
    return Together(before, State.of(project), runs)


def test_a_person_is_shown_the_comparison(project: Project, killed: str) -> None:
    asked = project.airflow.question("retrain", killed, "approve")
    registered = project.airflow.result("retrain", killed, "register")
    assert asked == registered["markdown"]
    assert "ndcg@10" in asked.lower() and f"{registered['version']}" in asked


def test_a_rejected_version_is_registered_but_does_not_serve(
    killed: str, rejected: Together
) -> None:
    run = rejected.runs["killed"]
    assert run.state == "success", run.why
    assert run.states("promote") == {"skipped"}
    entry = rejected.after.promotions[-1]
    assert (entry.kind, entry.by, entry.reason) == ("reject", "admin", "odd lists")
    assert rejected.after.promotions[:-1] == rejected.before.promotions
    assert rejected.after.without_log() == rejected.before.without_log()
    assert [version.run_id for version in rejected.after.versions if not version.aliases][:1] == [
        killed
    ]


def test_an_approved_version_serves(project: Project, rejected: Together) -> None:
    before = rejected.after
    run_id = project.start(
        "approved",
        policies=["none", "profile_gan"],
        recommenders=["multvae"],
        require_approval=True,
    )
    project.reached(run_id, "approve", "awaiting_input")
    assert promotion.log() == before.promotions
    project.answer(run_id, "Approve")
    run, after = project.ended(run_id), State.of(project)
    assert run.state == "success" and run.states("promote") == {"success"}, run.why
    champion = models.champion()
    assert (
        champion is not None and champion.run_id == "killed"
    )  # the same files are the same version
    assert len(after.versions) == len(before.versions)
    assert after.promotions[:-1] == before.promotions
    assert (after.promotions[-1].by, after.promotions[-1].run_id) == ("admin", run_id)
    hang_together(after)


def test_a_run_that_was_killed_makes_the_same_files_as_one_that_was_not(
    project: Project, killed: str, alone: Repro
) -> None:
    assert alone.finish() == project.look(killed).hashes


@pytest.fixture(scope="module")
def unusable(project: Project, rejected: Together) -> Together:
    return platform_runs.refuse(project, cleared="half")


def test_data_that_cannot_be_used_is_refused_at_once_with_the_cause(unusable: Together) -> None:
    causes = {"few": "min_interactions", "bad": "max_quarantined_share"}
    for name, limit in causes.items():
        run = unusable.runs[name]
        assert run.state == "failed" and run.states("validate") == {"failed"}
        assert [task.try_number for task in run.tasks if task.task == "validate"] == [1]
        assert run.states("prepare") == {"upstream_failed"}
        assert limit in run.why and "fix:" in run.why and "stage validate" in run.why, run.why


def test_the_data_docs_of_a_refused_run_are_linked_and_served(
    project: Project, unusable: Together
) -> None:
    for name in ("few", "bad"):
        run = unusable.runs[name]
        link = project.airflow.links("retrain", name, "validate")["Data Docs"]
        answer = project.page(link)
        assert answer.status_code == 200
        assert answer.text == (run.path / "reports" / "validation" / "index.html").read_text()
    quarantined = pl.read_parquet(
        unusable.runs["bad"].path / "data" / "quarantine" / "interactions.parquet"
    )
    nameless = quarantined.filter(pl.col("item_id").is_null())
    assert len(nameless) > 0 and nameless["reason"].str.contains("item_id is missing").all()


def test_cleared_tasks_run_again_and_change_nothing(at_once: Together, unusable: Together) -> None:
    before, after = at_once.runs["half"], unusable.runs["half"]
    assert after.state == "success", after.why
    assert after.hashes == before.hashes
    assert {
        task.try_number for task in after.tasks if task.task in {"evaluate", "decide", "publish"}
    } == {2}
    assert {task.try_number for task in after.tasks if task.task in {"train", "snapshot"}} == {1}


def test_uncommitted_changes_take_part_in_a_run_that_registers_nothing(unusable: Together) -> None:
    run = unusable.runs["uncommitted"]
    assert run.state == "success", run.why
    assert "# not committed yet" in (run.path / "params.yaml").read_text()
    assert (run.path / "notes.txt").read_text() == "new here\n"
    assert (run.path / "reports" / "report.html").exists()
    for task in ("materialize", "publish", "register", "promote"):
        assert run.states(task) == {"skipped"}


def test_refused_dry_and_cleared_runs_leave_champion_online_store_and_tags_as_they_were(
    unusable: Together,
) -> None:
    # the cleared run compares its version again, with the champion of that moment, and says so
    before, after = (state.without_outcome("half") for state in (unusable.before, unusable.after))
    assert after == before


def test_a_connection_in_airflows_database_is_found_from_the_command_line(
    project: Project, unusable: Together
) -> None:
    database, raw = project.home / "var" / "orders.db", project.home / "data" / "raw"
    with closing(sqlite3.connect(database)) as orders:
        orders.execute("CREATE TABLE clicks (user_id TEXT, item_id TEXT, timestamp TEXT)")
        orders.execute("INSERT INTO clicks VALUES ('u1', 'i1', '2024-01-01 10:00:00')")
        orders.commit()
    made = {"connection_id": "orders", "conn_type": "sqlite", "host": str(database)}
    project.airflow._call("POST", "/api/v2/connections", json=made)
    shutil.move(raw, raw.with_name("kept"))
    try:
        said = project.augrec(
            "data", "import", "--connection", "orders", "--interactions", "sql:clicks"
        )
    finally:
        shutil.rmtree(raw, ignore_errors=True)
        shutil.move(raw.with_name("kept"), raw)
    assert "1 interaction" in said
