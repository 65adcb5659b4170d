"""Two runs that finish at once: both were compared with the champion of before, and one of them is
promoted first."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from registry_workspace import PARAMS, decision_of, make_workspace

from augrec.cli.models import models as show_models
from augrec.core import settings
from augrec.core.errors import RefusedError
from augrec.core.files import write_json
from augrec.orchestration import tasks
from augrec.orchestration.approval import NOBODY, REASON, Approval
from augrec.registry import logged_runs, mlflow_versions, models, promotion, tracking
from augrec.registry.connection import client
from augrec.versioning import workspace

COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def registered(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, Any]]:
    """What `register` said of a good model, and of one that knows nothing of the shop's catalogue;
    no champion yet."""
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    for name in ("AUGREC_VAR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "var" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, tmp_path / "var" / "mlflow")
    here, said = settings.load(), {}
    for name, prefix in (("good", "i"), ("useless", "other-")):
        path = make_workspace(workspace.path_of(here, name), prefix=prefix)
        decision = {**decision_of(path), "gate": PARAMS["gate"]}
        write_json(path / "reports" / "decision.json", decision)
        workspace.record(workspace.Workspace(path, name, COMMIT, [], False))
        said[name] = tasks.register(here, name, COMMIT)
    return said


def promote(
    registered: dict[str, dict[str, Any]], name: str, *, approval: dict[str, str] | None = None
) -> dict[str, Any]:
    return tasks.promote(settings.load(), name, registered[name], approval)


def test_a_run_overtaken_by_a_better_one_is_compared_again_and_does_not_replace_it(
    registered: dict[str, dict[str, Any]],
) -> None:
    assert all(said["promotable"] and said["champion"] is None for said in registered.values())
    assert promote(registered, "good")["promoted"]
    late = promote(registered, "useless")
    assert not late["promoted"] and "champion" in late["reason"]
    assert [move.version for move in promotion.log()] == [registered["good"]["version"]]


def test_a_run_overtaken_by_a_worse_one_still_becomes_champion(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "useless")
    late = promote(registered, "good")
    assert late["promoted"] and late["replaced"] == registered["useless"]["version"]
    champion, previous = models.champion(), models.previous_champion()
    assert champion is not None and champion.version == registered["good"]["version"]
    assert previous is not None and previous.version == registered["useless"]["version"]


def test_why_a_version_serves_or_not_is_told_wherever_people_look(
    registered: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    promote(registered, "good")
    here = settings.load()
    again = tasks.register(here, "useless", COMMIT)  # compared with a champion this time
    assert not again["promotable"] and "worse than the champion, version 1" in again["reason"]
    for name, said in (("good", registered["good"]), ("useless", again)):
        run = tracking.find_parent(name)
        version = mlflow_versions.by_number(said["version"])
        assert run is not None
        assert run.data.tags["augrec.outcome"] == said["reason"]
        assert said["reason"] in run.data.tags["mlflow.note.content"]
        assert version.description.startswith(said["reason"])
    assert {logged_runs.last().outcome} <= {again["reason"], registered["good"]["reason"]}  # type: ignore[union-attr]
    show_models()
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Champion, version 1: {registered['good']['reason']}" in shown
    assert f"Not the champion, version 2: {again['reason']}" in shown


def test_promoting_twice_changes_nothing(registered: dict[str, dict[str, Any]]) -> None:
    assert promote(registered, "good")["promoted"]
    assert promote(registered, "good")["promoted"]
    assert len(promotion.log()) == 1


def test_a_run_that_is_cleared_later_does_not_undo_a_rollback(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "good")
    promotion.promote(
        registered["useless"]["version"],
        reason="try",
        by="a person",
        expected_champion=registered["good"]["version"],
    )
    promotion.rollback(reason="it recommends nothing", by="a person")
    promotion.rollback(reason="it was right after all", by="a person")
    late = promote(registered, "good")
    assert not late["promoted"] and "already" in late["reason"]
    assert len(promotion.log()) == 4


def test_an_approval_does_not_reach_beyond_what_was_shown(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "useless")
    with pytest.raises(RefusedError, match="was compared with none"):
        promote(registered, "good", approval={"by": "kim", "reason": ""})
    champion = models.champion()
    assert champion is not None and champion.version == registered["useless"]["version"]


def test_an_approval_is_recorded_with_the_person_and_their_reason(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "good", approval={"by": "kim", "reason": "I looked at the lists."})
    (entry,) = promotion.log()
    assert (entry.kind, entry.by, entry.run_id) == ("promote", "kim", "good")
    assert entry.reason.endswith("I looked at the lists.")


def test_a_rejection_is_recorded_once_and_changes_no_champion(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "good")
    before = models.champion()
    for _ in range(2):
        promotion.reject(registered["useless"]["version"], reason="no", by="kim", run_id="useless")
    assert models.champion() == before
    entries = [(one.kind, one.version, one.replaced, one.by) for one in promotion.log()]
    assert entries[1:] == [
        ("reject", registered["useless"]["version"], registered["good"]["version"], "kim")
    ]
    promotion.promote(
        registered["useless"]["version"],
        reason="after all",
        by="kim",
        expected_champion=registered["good"]["version"],
    )
    assert [one.number for one in promotion.log()] == [1, 2, 3]


def asked(run_id: str, minutes_ago: float) -> SimpleNamespace:
    """A run of `rollback` that kim triggered some time ago."""
    then = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return SimpleNamespace(run_id=run_id, run_after=then, triggering_user_name="kim")


def test_a_rollback_records_who_asked_for_it_and_a_second_try_does_not_undo_it(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "useless")
    promote(registered, "good")
    for _ in range(2):
        assert (
            tasks.rollback(asked("back", 0), "bad lists")["champion"]
            == (registered["useless"]["version"])
        )
    assert [(one.kind, one.by) for one in promotion.log()][2:] == [("rollback", "kim")]


def test_a_rollback_that_had_to_wait_is_refused(registered: dict[str, dict[str, Any]]) -> None:
    promote(registered, "useless")
    promote(registered, "good")
    with pytest.raises(RefusedError, match="asked for 90 minutes ago"):
        tasks.rollback(asked("late", 90), "bad lists")
    champion = models.champion()
    assert champion is not None and champion.version == registered["good"]["version"]


def test_the_report_says_here_and_in_mlflow_what_became_of_the_model(
    registered: dict[str, dict[str, Any]],
) -> None:
    run = workspace.open_(settings.load(), "good")
    version, page = registered["good"]["version"], run.path / "reports" / "index.html"
    assert f"versions/{version}" in page.read_text() and "registered" in page.read_text()
    tasks.show_outcome(settings.load(), "good", "rejected by kim: odd lists")
    assert "rejected by kim: odd lists" in page.read_text()
    logged = tracking.find_parent("good")
    assert logged is not None
    shown = client().download_artifacts(logged.info.run_id, "report.html", str(run.path))
    assert Path(shown).read_text() == page.read_text()


def test_no_answer_in_time_is_a_rejection_by_nobody(
    registered: dict[str, dict[str, Any]],
) -> None:
    promote(registered, "good")
    asked = Approval(
        task_id="approve",
        subject="Promote the new model?",
        params={"reason": REASON},
        registered=registered["useless"],
        approvers=["kim"],
    )
    assert asked.assigned_users == [{"id": "kim", "name": "kim"}]
    event = {
        "chosen_options": asked.defaults,
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": None,
    }
    context: Any = {"dag_run": SimpleNamespace(run_id="useless")}
    assert asked.execute_complete(context, event)["by"] == NOBODY
    entry = promotion.log()[-1]
    assert (entry.kind, entry.by, entry.run_id) == ("reject", NOBODY, "useless")
