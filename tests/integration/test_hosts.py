"""A run on two hosts that share a git remote and a DVC remote, and no disk; with real git and real
DVC on a pipeline of tiny stages."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_versioning import project, run_all, start, write_raw  # noqa: F401

from augrec.core.errors import TransientError
from augrec.core.settings import Settings
from augrec.orchestration import entries, tasks
from augrec.versioning import (
    cache_bound,
    exchange,
    git,
    hosts,
    lock_writer,
    publish,
    stages,
    workspace,
)


@pytest.fixture
def first(project: Settings, tmp_path: Path) -> Settings:  # noqa: F811
    """The host where runs begin."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "git")], check=True)
    git.git(project.home, "remote", "add", "origin", str(tmp_path / "git"))
    git.git(project.home, "push", "--quiet", "origin", "HEAD")
    return replace(project, git_remote="origin", data_remote=str(tmp_path / "remote"))


@pytest.fixture
def second(first: Settings, tmp_path: Path) -> Settings:
    """Another host, with a clone and a cache of its own."""
    home = tmp_path / "second"
    subprocess.run(["git", "clone", "--quiet", str(tmp_path / "git"), str(home)], check=True)
    return replace(first, home=home, var=home / "var")


def begin(host: Settings, run_id: str) -> workspace.Workspace:
    run = start(host, run_id)
    hosts.offer(host, run)
    return run


def on(
    host: Settings, run_id: str, name: str, before: exchange.Entries
) -> tuple[str, exchange.Entries]:
    """What a task does on a host: its outcome, and the entry that it hands on."""
    run = hosts.join(host, run_id)
    exchange.bring(run.path, name, before)
    outcome = stages.run_stage(run.path, name)
    exchange.push(run.path, [name])
    return outcome, exchange.entry(run.path, name)


def test_a_run_on_two_hosts_is_that_of_one(first: Settings, second: Settings) -> None:
    begin(first, "two")
    _, validated = on(second, "two", "validate", {})
    _, one = on(first, "two", "synthesize@one", validated)
    _, two = on(second, "two", "synthesize@two", validated)
    run = hosts.join(first, "two")
    exchange.bring_outputs(run.path, {**two, **one, **validated})
    publication = publish.publish(first, run)
    alone = start(replace(first, git_remote=None), "alone")
    run_all(alone)
    publish.publish(first, alone)
    assert (run.path / "dvc.lock").read_bytes() == (alone.path / "dvc.lock").read_bytes()
    hosts.release(first, publication.tag)
    git.git(second.home, "fetch", "--quiet", "--tags", "origin")
    assert git.git(second.home, "rev-parse", f"{publication.tag}^{{commit}}") == publication.commit


def test_a_host_brings_the_inputs_of_its_stage_and_nothing_else(
    first: Settings, second: Settings
) -> None:
    begin(first, "two")
    _, validated = on(first, "two", "validate", {})
    on(second, "two", "synthesize@one", validated)
    data = hosts.join(second, "two").path / "data"
    assert sorted(path.name for path in data.iterdir() if path.is_dir()) == [
        "synthetic",
        "validated",
    ]
    assert len(list((second.home / ".dvc" / "cache" / "files").rglob("*/*/*"))) == 5


def test_the_code_of_a_run_is_that_of_its_commit_on_every_host(
    first: Settings, second: Settings
) -> None:
    begin(first, "two")
    tiny = second.home / "src" / "augrec" / "tiny.py"
    tiny.write_text("raise SystemExit('the code of this host')")
    outcome, _ = on(second, "two", "validate", {})
    assert outcome == "ran"


def test_uncommitted_changes_travel_with_a_dry_run(first: Settings, second: Settings) -> None:
    (first.home / "notes.txt").write_text("new here\n")
    run = begin(first, "dry")
    there = hosts.join(second, "dry")
    assert run.dry_run and replace(there, path=run.path) == run
    assert (there.path / "notes.txt").read_text() == "new here\n"


def test_what_one_host_has_made_another_restores(first: Settings, second: Settings) -> None:
    begin(first, "earlier")
    made, _ = on(first, "earlier", "validate", {})
    begin(first, "later")
    restored, _ = on(second, "later", "validate", {})
    assert (made, restored) == ("ran", "restored")


def test_a_damaged_record_of_an_earlier_run_is_not_believed(
    first: Settings, second: Settings, tmp_path: Path
) -> None:
    begin(first, "earlier")
    on(first, "earlier", "validate", {})
    [record] = (path for path in (tmp_path / "remote" / "runs").rglob("*") if path.is_file())
    record.write_text(record.read_text().replace("nfiles: 2", "nfiles: 3").replace("a", "b", 1))
    begin(first, "later")
    assert on(second, "later", "validate", {})[0] == "ran"


def test_inputs_that_the_remote_does_not_have_are_asked_for_again_later(
    first: Settings, second: Settings, tmp_path: Path
) -> None:
    begin(first, "two")
    _, validated = on(first, "two", "validate", {})
    aside = shutil.move(tmp_path / "remote" / "files", tmp_path / "aside")
    with pytest.raises(TransientError, match="DVC remote"):
        on(second, "two", "synthesize@one", validated)
    shutil.move(aside, tmp_path / "remote" / "files")
    assert on(second, "two", "synthesize@one", validated)[0] == "ran"


def test_a_host_with_other_code_is_refused(
    first: Settings, second: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(first, "two")
    monkeypatch.setattr(hosts, "CODE", hosts.CODE[:-1])  # as if a room had other files
    with pytest.raises(TransientError, match="this host's augrec is another"):
        hosts.join(second, "two")
    monkeypatch.undo()
    assert hosts.join(second, "two").run_id == "two"


def test_a_stage_that_ran_again_elsewhere_replaces_what_a_host_had(
    first: Settings, second: Settings
) -> None:
    begin(first, "two")
    _, validated = on(first, "two", "validate", {})
    on(second, "two", "synthesize@one", validated)
    write_raw(first.home, "c")
    begin(first, "other")
    _, other = on(first, "other", "validate", {})
    run = hosts.join(second, "two")
    exchange.bring(run.path, "synthesize@one", other)
    assert (run.path / "data/validated/interactions.parquet").read_text() == "c"
    assert lock_writer.entries(run.path / "dvc.lock")["validate"] == other["validate"]


def test_a_remote_that_cannot_be_reached_is_a_passing_failure(
    first: Settings, tmp_path: Path
) -> None:
    run = start(first, "two")
    with pytest.raises(TransientError, match="git push failed"):
        hosts.offer(replace(first, git_remote=str(tmp_path / "nowhere")), run)


def test_the_cache_of_a_host_stays_within_its_bound_and_what_is_gone_is_fetched_again(
    first: Settings, second: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(first, "two")
    _, validated = on(second, "two", "validate", {})
    cache = second.home / ".dvc" / "cache"
    bounded = replace(second, cache_bytes=0)
    assert cache_bound.keep_within_bound(bounded) == 0  # all of it is in use
    monkeypatch.setattr(cache_bound, "IN_USE_S", -1.0)
    assert cache_bound.keep_within_bound(replace(bounded, cache_bytes=10**9)) == 0
    assert cache_bound.keep_within_bound(second) == 0  # it has no bound
    assert cache_bound.keep_within_bound(replace(bounded, git_remote=None)) == 0
    size = sum(path.stat().st_size for path in (cache / "files" / "md5").glob("??/*"))
    assert cache_bound.keep_within_bound(bounded) == size > 0
    assert list((cache / "files" / "md5").glob("??/*")) == []
    begin(first, "later")
    assert on(second, "later", "validate", {})[0] == "restored"
    assert on(second, "later", "synthesize@one", validated)[0] == "ran"


def test_where_one_host_runs_everything_nothing_is_handed_on(project: Settings) -> None:  # noqa: F811
    run_all(start(project, "alone"))
    without_xcom: Any = {"dag_run": SimpleNamespace(run_id="alone")}
    run = entries.run_with_outputs(project, without_xcom)
    entries.bring_inputs(project, run, "validate", without_xcom)
    entries.hand_on(project, run, "validate", without_xcom)
    assert tasks.publish(project, run)["tag"] == "run/alone"
