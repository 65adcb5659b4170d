"""Workspaces, stages and publishing, with real git and real DVC on a pipeline of three tiny
stages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import yaml
import zc.lockfile
from dvc import dvcfile
from dvc.utils.serialize import load_yaml

from augrec.core.errors import ConfigError, InputError, PermanentError, RefusedError, TransientError
from augrec.core.settings import Settings
from augrec.versioning import (
    git,
    lineage,
    lock_writer,
    prune,
    publish,
    rebuild,
    restore,
    stages,
    workspace,
)

PIPELINE = """
stages:
  validate:
    cmd: python -m augrec.tiny validate
    deps: [data/raw, src]
    params: [limit]
    outs: [data/validated]
  synthesize:
    matrix: {generator: "${run.generators}"}
    cmd: python -m augrec.tiny copy data/validated data/synthetic/${item.generator}
    deps: [data/validated]
    outs: ["data/synthetic/${item.generator}"]
"""
CONFIGURE = """
  configure:
    cmd: python -m augrec.tiny configure
    deps: [params.yaml, src]
    outs: [data/config]
"""
PARAMS = """
limit: 3    # a comment that stays
run:
  generators:
  - one
  - two
policies: {}
generators:
  one: {size: 1}
"""
# what the stages of a workspace import from its own src, besides the stage of this test
PACKAGE = ("__init__.py", "core", "stages/__init__.py", "stages/runner.py")
STAGE = """
import json, os, shutil, sys, time
from pathlib import Path

from augrec.core.errors import RefusedError
from augrec.core.config import read_params, section
from augrec.stages.runner import run, tell_curve


def configure():
    params = read_params()
    if params["limit"] < 0:
        raise RefusedError("the limit is negative", where="params.yaml", fix="write `limit: 3`")
    for name in params["run"]["generators"]:
        path = Path("data/config/generators", name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"size": 1} | section(params, f"generators.{name}")))


def main(action, source="data/raw", target="data/validated"):
    if action == "configure":
        configure()
        return
    words = Path(source, "interactions.parquet").read_text().split()
    if action == "validate" and "slow" in words:
        Path("started").write_text(str(os.getpid()))
        time.sleep(60)
    if action == "validate" and len(words) > read_params()["limit"]:
        raise RefusedError("too many words", where=source, fix="use fewer")
    with Path("runs").open("a") as log:
        log.write(f"{action} ")
    if "curve" in words:
        tell_curve("generator", "tiny", {"step": 1, "loss": 0.5})
    if "locked" in words:
        time.sleep(1)
    shutil.copytree(source, target, dirs_exist_ok=True)
    Path(target, "name").write_text(target)


if __name__ == "__main__":
    run(main)
"""


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    home = tmp_path / "project"
    package = home / "src" / "augrec"
    source = Path(__file__).parents[2] / "src" / "augrec"
    (package / "stages").mkdir(parents=True)
    for name in PACKAGE:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copyfile
        copy(source / name, package / name)
    (package / "tiny.py").write_text(STAGE)
    (home / "dvc.yaml").write_text(PIPELINE)
    (home / "params.yaml").write_text(PARAMS)
    (home / ".dvcignore").write_text("__pycache__\nstarted\nruns\n")
    (home / ".gitignore").write_text(
        "/data/*\n!/data/raw.dvc\n/var/\n__pycache__/\nstarted\nruns\n"
    )
    git.git(home, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=home, check=True)
    (home / ".dvc" / "config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = x\n"
    )
    git.git(home, "-c", "user.name=t", "-c", "user.email=t@t", "add", ".")
    git.git(home, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "start")
    write_raw(home, "a b")
    var = home / "var"
    return Settings(home, var, "127.0.0.1", 8080, 5000, f"sqlite:///{var}/m.db", str(var / "o.db"))


def write_raw(home: Path, words: str) -> None:
    (home / "data" / "raw").mkdir(parents=True, exist_ok=True)
    (home / "data" / "raw" / "interactions.parquet").write_text(words)


def start(
    project: Settings, run_id: str, overrides: dict[str, object] | None = None
) -> workspace.Workspace:
    return restore.restore_unchanged(project, workspace.create(project, run_id, overrides or {}))


def run_all(run: workspace.Workspace) -> dict[str, str]:
    return {stage.name: stages.run_stage(run.path, stage.name) for stage in stages.plan(run.path)}


def test_a_second_run_with_nothing_changed_restores_every_stage(project: Settings) -> None:
    first = run_all(start(project, "first"))
    second = run_all(start(project, "second"))
    assert first == {"validate": "ran", "synthesize@one": "ran", "synthesize@two": "ran"}
    assert second == dict.fromkeys(first, "restored")
    assert (
        project.runs / "second" / "data/synthetic/two/interactions.parquet"
    ).read_text() == "a b"


def test_whoever_starts_a_stage_sees_its_training_curve_unless_the_stage_is_restored(
    project: Settings,
) -> None:
    seen: list[object] = []

    class CurveSink:
        def send(self, rows: list[dict[str, object]]) -> None:
            seen.extend(rows)

        def end(self, *, failed: bool) -> None:
            seen.append(failed)

    write_raw(project.home, "curve")
    for name in ("first", "second"):
        stages.run_stage(start(project, name).path, "validate", curve_sink=CurveSink())
    row = {"role": "generator", "name": "tiny", "row": {"step": 1, "loss": 0.5}}
    assert seen == [row, False, False]


def test_a_run_begins_where_the_latest_published_one_ended(project: Settings) -> None:
    first = start(project, "first")
    run_all(first)
    publish.publish(project, first)
    same = start(project, "same")
    assert same.restored == ["validate", "synthesize@one", "synthesize@two"]
    assert (same.path / "data/synthetic/two/interactions.parquet").read_text() == "a b"
    assert stages.unfinished(same.path) == []
    write_raw(project.home, "c")
    other = start(project, "other")
    assert other.restored == [] and not (other.path / "data" / "synthetic" / "one").exists()
    assert run_all(other)["synthesize@one"] == "ran"


@pytest.fixture
def configured(project: Settings) -> Settings:
    """The project with a stage `configure`, on which each generator depends by a file of its
    own."""
    own = '[data/validated, "data/config/generators/${item.generator}.json"]'
    pipeline = PIPELINE.replace("deps: [data/validated]", f"deps: {own}") + CONFIGURE
    (project.home / "dvc.yaml").write_text(pipeline)
    git.git(project.home, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "more")
    return project


def test_another_config_of_a_generator_runs_that_generator_again_and_nothing_else(
    configured: Settings,
) -> None:
    first = start(configured, "first")
    assert first.restored == ["configure"], "it is run when the run begins"
    assert run_all(first) == {
        "validate": "ran",
        "configure": "restored",
        "synthesize@one": "ran",
        "synthesize@two": "ran",
    }
    publish.publish(configured, first)
    same = start(configured, "same", {"generators.one.size": 1})
    assert set(same.restored) == set(run_all(first))
    other = start(configured, "other", {"generators.one.size": 2})
    assert set(other.restored) == {"configure", "validate", "synthesize@two"}
    assert run_all(other)["synthesize@one"] == "ran"
    assert stages.unfinished(other.path) == []
    assert start(configured, "resumed").restored == same.restored
    again = start(configured, "again", {"generators.one.size": 2})
    assert stages.run_stage(again.path, "synthesize@one") == "restored", "from DVC's run cache"


def test_a_run_with_fewer_generators_restores_those_it_has(configured: Settings) -> None:
    first = start(configured, "first")
    run_all(first)
    publish.publish(configured, first)
    fewer = start(configured, "fewer", {"run.generators": ["two"]})
    assert set(fewer.restored) == {"configure", "validate", "synthesize@two"}


def test_a_config_that_cannot_run_is_refused_when_the_run_begins(configured: Settings) -> None:
    with pytest.raises(RefusedError, match="stage configure: the limit is negative"):
        start(configured, "refused", {"limit": -1})


def test_a_run_with_a_stage_for_configs_is_rebuilt_from_its_commit(configured: Settings) -> None:
    run = start(configured, "original", {"generators.one.size": 2})
    run_all(run)
    commit = publish.publish(configured, run).commit
    workspace.remove(configured, run.path)
    built = rebuild.rebuild(configured, commit, progress=lambda *_: None)
    assert (
        built.differing == []
        and "2" in (built.path / "data/config/generators/one.json").read_text()
    )


def test_a_key_that_dvc_yaml_names_and_params_yaml_lacks_is_named(project: Settings) -> None:
    text = (project.home / "params.yaml").read_text()
    (project.home / "params.yaml").write_text(text.replace("limit: 3", "limits: 3"))
    run = start(project, "lacking")
    with pytest.raises(PermanentError, match=r"could not start.*limit") as caught:
        stages.run_stage(run.path, "validate")
    assert "traceback" not in caught.value.fix and "params.yaml" in caught.value.fix


def test_pruning_leaves_reports_the_latest_runs_and_whatever_is_not_published(
    project: Settings,
) -> None:
    for name in ("first", "second", "third"):
        run = start(project, name)
        run_all(run)
        publish.publish(project, run)
        (run.path / "reports").mkdir()
        (run.path / "reports" / "report.html").write_text(name)
    run_all(start(project, "failed"))
    (project.runs / "first" / "own").write_bytes(b"0" * 10_000)
    freed = prune.prune(project, keep=1)
    assert list(freed) == ["first", "second"] and freed["first"] >= 10_000
    for name in freed:
        assert [path.name for path in (project.runs / name).rglob("*")] == [
            "reports",
            "report.html",
        ]
        with pytest.raises(InputError, match="no workspace"):
            workspace.open_(project, name)
    for name in ("third", "failed"):
        assert stages.unfinished(project.runs / name) == []
    assert prune.prune(project, keep=1) == {}
    assert sorted(path.name for path in project.runs.glob("*")) == [
        "failed",
        "failed.json",
        "first",
        "second",
        "third",
        "third.json",
    ]
    assert str(project.runs / "first") not in git.git(project.home, "worktree", "list")
    # what was published is still there to begin the next run with
    assert start(project, "next").restored == ["validate", "synthesize@one", "synthesize@two"]


def test_resuming_twice_changes_nothing(project: Settings) -> None:
    first = start(project, "first", {"run.generators": ["one"]})
    run_all(first)
    publish.publish(project, first)
    second = start(project, "second")
    assert second.restored == ["validate", "synthesize@one"]
    assert (
        restore.restore_unchanged(project, second) == second == workspace.open_(project, "second")
    )


def test_changed_code_runs_again(project: Settings) -> None:
    run_all(start(project, "first"))
    code = project.home / "src" / "augrec" / "tiny.py"
    code.write_text(code.read_text() + "\n# another version\n")
    assert run_all(start(project, "second"))["validate"] == "ran"


def test_a_runs_own_parameters_decide_the_members_of_a_matrix(project: Settings) -> None:
    run = start(project, "narrow", {"run.generators": ["two"]})
    assert [stage.name for stage in stages.plan(run.path)] == ["validate", "synthesize@two"]
    assert "# a comment that stays" in (run.path / "params.yaml").read_text()
    assert (project.home / "params.yaml").read_text() == PARAMS


def test_dvc_reads_from_its_lock_what_a_stage_has_written(tmp_path: Path) -> None:
    """Values that YAML 1.1 and 1.2, or writers in Python and C, may take for something else."""
    lock = tmp_path / "dvc.lock"
    texts = ["on", "no", "1e5", "1_0", "0x1", "1:30", "2024-01-01", "~", "", "12", "ä" * 90, "a: b"]
    values = {"text": texts, "other": [None, True, 1, 1.5, 1e-7, [], {}], "b": 1, "a": 2}
    lock_writer.install()
    with dvcfile.modify_yaml(str(lock)) as data:
        data["stages"] = OrderedDict(values)  # as DVC hands it over
    assert load_yaml(str(lock)) == {"stages": values}
    assert list(load_yaml(str(lock))["stages"]) == list(values)
    before = lock.read_bytes()
    with pytest.raises(KeyError), dvcfile.modify_yaml(str(lock)) as data:
        del data["stages"], data["absent"]
    assert lock.read_bytes() == before


def test_an_unknown_parameter_is_refused(project: Settings) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml has no run\.generator"):
        workspace.create(project, "typo", {"run.generator": ["two"]})


def test_an_option_of_a_component_need_not_stand_there_to_be_overridden(project: Settings) -> None:
    run = workspace.create(project, "added", {"generators.two.size": 2, "recommenders.a.b": 1})
    params = yaml.safe_load((run.path / "params.yaml").read_text())
    assert params["generators"] == {"one": {"size": 1}, "two": {"size": 2}}
    assert params["recommenders"] == {"a": {"b": 1}}


def test_without_overrides_the_parameters_keep_every_byte(project: Settings) -> None:
    assert (start(project, "plain").path / "params.yaml").read_bytes() == PARAMS.encode()


def test_a_refusing_stage_says_why_and_is_permanent(project: Settings) -> None:
    write_raw(project.home, "far too many words here")
    run = start(project, "refused")
    with pytest.raises(RefusedError, match="stage validate: too many words") as caught:
        stages.run_stage(run.path, "validate")
    assert caught.value.fix == "use fewer"


def test_a_killed_stage_is_transient_and_can_run_again(project: Settings) -> None:
    write_raw(project.home, "slow")
    run = start(project, "killed")
    started = run.path / "started"

    def kill() -> None:
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        os.kill(int(started.read_text()), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(TransientError, match="was killed"):
        stages.run_stage(run.path, "validate")
    assert not (run.path / "data" / "validated").exists()
    write_raw(run.path, "quick")
    assert stages.run_stage(run.path, "validate") == "ran"


def test_a_stage_ends_when_whoever_started_it_is_gone(project: Settings) -> None:
    write_raw(project.home, "slow")
    run = start(project, "orphan")
    call = (
        "from pathlib import Path; from augrec.versioning import stages; "
        f"stages.run_stage(Path({str(run.path)!r}), 'validate')"
    )
    parent = subprocess.Popen([sys.executable, "-c", call])
    started = run.path / "started"
    while not started.exists() or not started.read_text():
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{started.read_text()}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{started.read_text()}").exists()


def test_a_stage_that_has_run_waits_for_its_turn_to_say_so(project: Settings) -> None:
    write_raw(project.home, "locked")
    run = start(project, "waiting")
    begun = run.path / "runs"

    def hold() -> None:
        while not begun.exists():
            time.sleep(0.05)
        lock = zc.lockfile.LockFile(str(run.path / ".dvc" / "tmp" / "lock"))
        time.sleep(5)  # longer than DVC waits by itself
        lock.close()

    threading.Thread(target=hold, daemon=True).start()
    assert stages.run_stage(run.path, "validate") == "ran"
    assert begun.read_text().split() == ["validate"]


def damage(folder: Path, content: str) -> Path:
    """Flip a bit of the object of a DVC cache or remote that holds `content`, as a disk does: its
    mode stays; returns its path."""
    [path] = [
        file
        for file in folder.glob("files/md5/*/*")
        if file.is_file() and file.read_bytes() == content.encode()
    ]
    mode = path.stat().st_mode
    path.chmod(0o644)
    damaged = bytearray(path.read_bytes())
    damaged[0] ^= 1
    path.write_bytes(damaged)
    path.chmod(mode)
    return path


def sample(run: workspace.Workspace) -> str:
    return (run.path / "data/synthetic/two/interactions.parquet").read_text()


@pytest.fixture
def published(project: Settings) -> Settings:
    """The project after a run that was published and whose workspace was removed since."""
    run = start(project, "first")
    run_all(run)
    publish.publish(project, run)
    workspace.remove(project, run.path)
    return project


def test_a_damaged_object_of_the_cache_is_set_aside_and_fetched_from_the_remote(
    published: Settings,
) -> None:
    path = damage(published.home / ".dvc/cache", "a b")
    run = start(published, "second")
    assert sample(run) == path.read_text() == "a b"
    assert run.restored == ["validate", "synthesize@one", "synthesize@two"]
    kept = published.home / ".dvc/cache/damaged" / f"{path.parent.name}{path.name}"
    assert kept.read_text() == "` b"


def test_what_is_damaged_in_cache_and_remote_is_computed_again(published: Settings) -> None:
    for folder in (published.home / ".dvc/cache", published.var / "dvc-remote"):
        damage(folder, "data/synthetic/two")
    run = start(published, "second")
    assert run.restored == ["validate", "synthesize@one"]
    assert stages.run_stage(run.path, "synthesize@two") == "ran"
    publish.publish(published, run)


def test_the_list_of_a_folders_files_is_hashed_too(published: Settings) -> None:
    for path in (published.home / ".dvc/cache").glob("files/md5/*/*.dir"):
        damage(published.home / ".dvc/cache", path.read_text())
    assert start(published, "second").restored == ["validate", "synthesize@one", "synthesize@two"]


def test_a_missing_list_of_a_folders_files_is_made_again_and_pushed(published: Settings) -> None:
    lists = set()
    for folder in (published.home / ".dvc/cache", published.var / "dvc-remote"):
        for path in folder.glob("files/md5/*/*.dir"):
            lists.add(path.name)
            path.unlink()
    assert lists
    run = start(published, "second")
    assert set(run_all(run).values()) == {"ran"}
    publish.publish(published, run)
    remote = (published.var / "dvc-remote").glob("files/md5/*/*.dir")
    assert lists <= {path.name for path in remote}


def test_a_stage_is_not_restored_from_a_damaged_object(project: Settings) -> None:
    run_all(start(project, "first"))
    damage(project.home / ".dvc/cache", "data/synthetic/two")
    assert run_all(start(project, "second")) == {
        "validate": "restored",
        "synthesize@one": "restored",
        "synthesize@two": "ran",
    }


def test_an_object_of_the_cache_is_hashed_once(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(published, "second")
    monkeypatch.setattr("dvc_data.hashfile.hash._hash_file", None)  # hashing fails from now on
    with stages.opened(published.runs / "second") as repo:
        assert not any(out.changed_cache() for out in repo.index.outs)


def test_a_damaged_object_of_the_remote_is_not_pulled(published: Settings) -> None:
    commit = git.git(published.home, "rev-parse", publish.tags(published)[-1])
    damage(published.var / "dvc-remote", "a b")
    shutil.rmtree(published.home / ".dvc/cache")
    with pytest.raises(PermanentError, match="data/raw") as caught:
        rebuild.rebuild(published, commit, progress=lambda *_: None)
    assert "remote" in caught.value.fix


def test_two_runs_at_once_do_not_meet(project: Settings) -> None:
    one = start(project, "one", {"run.generators": ["one"]})
    write_raw(project.home, "c d")
    two = start(project, "two", {"run.generators": ["two"]})
    threads = [
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "--quiet"],
            cwd=run.path,
            env={
                **os.environ,
                "PYTHONPATH": str(run.path / "src"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
        for run in (one, two)
    ]
    assert [thread.wait() for thread in threads] == [0, 0]
    assert (one.path / "data/synthetic/one/interactions.parquet").read_text() == "a b"
    assert (two.path / "data/synthetic/two/interactions.parquet").read_text() == "c d"
    assert not (one.path / "data/synthetic/two").exists()


def test_uncommitted_changes_take_part_but_make_it_a_dry_run(project: Settings) -> None:
    assert not start(project, "clean").dry_run
    (project.home / "params.yaml").write_text(PARAMS.replace("limit: 3", "limit: 1"))
    run = start(project, "dirty")
    assert run.dry_run and run.changed == ["params.yaml"]
    with pytest.raises(RefusedError):
        run_all(run)


def test_run_ids_that_differ_in_punctuation_alone_do_not_share_a_workspace(
    project: Settings,
) -> None:
    dry = workspace.create(project, "w:1", {"run.generators": ["one"]}, dry_run=True)
    other = start(project, "w+1", {"run.generators": ["two"]})
    assert other.path != dry.path and not other.dry_run
    assert [stage.name for stage in stages.plan(other.path)] == ["validate", "synthesize@two"]
    assert workspace.open_(project, "w:1") == dry
    run_all(other)
    published = publish.publish(project, other)
    assert "- two" in git.git(project.home, "show", f"{published.tag}:params.yaml")


def test_whatever_airflow_takes_as_a_run_id_has_a_workspace_and_a_tag(project: Settings) -> None:
    for run_id in ("long" * 60, "manual__2026-01-01T00:00:00.5+00:00", "..", "x.lock", "a/../b"):
        run = workspace.create(project, run_id, {})
        assert run.path.parent == project.runs and workspace.open_(project, run_id) == run
        git.git(project.home, "tag", f"run/{workspace.folder_name(run_id)}", run.commit)


def test_no_two_run_ids_have_the_same_folder() -> None:
    ids = ["w:1", "w+1", "w-1", "W-1", "w.1", "w 1", "", ".", "-", "l" * 60, "l" * 61, "l" * 250]
    ids += [workspace.folder_name(run_id) for run_id in ids]
    names = [workspace.folder_name(run_id).lower() for run_id in dict.fromkeys(ids)]
    assert len(set(names)) == len(names) and max(map(len, names)) < 80


def test_creating_a_workspace_twice_changes_nothing(project: Settings) -> None:
    first = start(project, "same")
    (first.path / "mine").write_text("kept")
    assert workspace.create(project, "same", {}) == first
    assert (first.path / "mine").exists()


def test_without_data_there_is_no_run(project: Settings) -> None:
    (project.home / "data" / "raw" / "interactions.parquet").unlink()
    with pytest.raises(InputError, match="no data to train on"):
        workspace.create(project, "empty", {})


def test_publishing_twice_changes_nothing_and_the_remote_holds_the_data(project: Settings) -> None:
    run = start(project, "scheduled__2026-01-01T00:00:00+00:00")
    run_all(run)
    first, second = publish.publish(project, run), publish.publish(project, run)
    assert first.commit == second.commit and first.pushed > 0 and second.pushed == 0
    assert publish.tags(project) == [f"run/{workspace.folder_name(run.run_id)}"]
    assert "data/synthetic/two" in git.git(project.home, "show", f"{first.commit}:dvc.lock")
    assert git.changes(project.home) == []


def test_an_incomplete_run_is_not_published(project: Settings) -> None:
    run = start(project, "half")
    stages.run_stage(run.path, "validate")
    with pytest.raises(PermanentError, match=r"not complete: synthesize@one, synthesize@two"):
        publish.publish(project, run)
    assert publish.tags(project) == []


def test_every_synthetic_dataset_is_listed_with_what_made_it(project: Settings) -> None:
    for name in ("first", "second"):
        run = start(project, name, {"run.generators": ["two"]})
        run_all(run)
        publish.publish(project, run)
    [dataset] = lineage.synthetic_datasets(project)
    assert (dataset.generator, dataset.first_run, dataset.runs) == (
        "two",
        "first",
        ["first", "second"],
    )


def test_a_run_is_rebuilt_from_its_commit_alone(project: Settings) -> None:
    run = start(project, "original")
    run_all(run)
    commit = publish.publish(project, run).commit
    workspace.remove(project, run.path)
    write_raw(project.home, "other data by now")
    seen: list[str] = []
    built = rebuild.rebuild(
        project, commit, progress=lambda stage, number, total: seen.append(stage)
    )
    assert built.differing == [] and built.outputs == 3 and seen[0] == "validate"
    assert (built.path / "data/synthetic/one/interactions.parquet").read_text() == "a b"
