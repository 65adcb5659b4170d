"""The champion as an input of a run: with a real registry, real git and real DVC, on a pipeline of
one tiny stage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from registry_workspace import decision_of, make_workspace

from augrec.core.errors import RefusedError
from augrec.core.files import digest
from augrec.core.settings import Settings
from augrec.orchestration import champion_input
from augrec.registry import mlflow_versions, models, promotion, tracking
from augrec.versioning import git, publish, rebuild, restore, stages, workspace

PIPELINE = """
stages:
  augment:
    cmd: python -m tiny
    deps: [data/raw, src]
    params: [run.champion]
    outs: [data/augmented]
"""
PARAMS = """
run:
  champion: null    # retrain writes it
policies:
  none: []
  truncation:
  - truncate: {ratio: 1.0}
  fine_tune:
  - continue_champion: {}
"""
STAGE = """
import shutil
from pathlib import Path

Path("data/augmented").mkdir(parents=True)
if Path("models/champion").exists():
    shutil.copytree("models/champion", "data/augmented/champion")
"""
ALL = ["none", "truncation", "fine_tune"]


@pytest.fixture
def project(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    home = tmp_path / "project"
    (home / "src").mkdir(parents=True)
    (home / "src/tiny.py").write_text(STAGE)
    (home / "dvc.yaml").write_text(PIPELINE)
    (home / "params.yaml").write_text(PARAMS)
    (home / ".dvcignore").write_text("__pycache__\n")
    shutil.copy(Path(__file__).parents[2] / ".gitignore", home / ".gitignore")
    git.git(home, "init", "--quiet")
    git.git(home, "config", "user.name", "t")
    git.git(home, "config", "user.email", "t@t")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=home, check=True)
    (home / ".dvc" / "config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = x\n"
    )
    git.git(home, "add", ".")
    git.git(home, "commit", "--quiet", "-m", "start")
    (home / "data/raw").mkdir(parents=True)
    (home / "data/raw/interactions.parquet").write_text("rows")
    var = home / "var"
    (var / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, var / "mlflow/mlflow.db")
    monkeypatch.setenv("AUGREC_HOME", str(home))
    for name in ("AUGREC_VAR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return Settings(
        home, var, "127.0.0.1", 8080, 5000, f"sqlite:///{var}/mlflow/mlflow.db", str(var / "o.db")
    )


def crown(folder: Path, seed: int) -> models.Version:
    """Register a model and make it champion."""
    run, before = make_workspace(folder / f"made-{seed}", seed=seed), models.champion()
    tracking.log_run(run, f"made-{seed}", commit="c" * 40)
    version = models.register(run, f"made-{seed}", "c" * 40, decision_of(run))
    promotion.promote(
        version.version, reason="r", by="t", expected_champion=before and before.version
    )
    return version


def start(project: Settings, run_id: str, policies: list[str] = ALL) -> workspace.Workspace:
    """What `retrain` does when it begins."""
    overrides = champion_input.champion_override(
        yaml.safe_load((project.home / "params.yaml").read_text()), policies
    )
    run = restore.restore_unchanged(project, workspace.create(project, run_id, overrides))
    champion_input.export_champion(run)
    return run


def finish(project: Settings, run: workspace.Workspace) -> publish.Publication:
    for stage in stages.plan(run.path):
        stages.run_stage(run.path, stage.name)
    return publish.publish(project, run)


def test_a_run_names_the_champion_only_where_a_policy_continues_it(
    project: Settings, tmp_path: Path
) -> None:
    params = yaml.safe_load(PARAMS)
    assert champion_input.champion_override(params, ALL) == {}  # there is none yet
    champion = crown(tmp_path, 1)
    named = {"version": champion.version, "digest": champion.digest}
    assert champion_input.champion_override(params, ALL) == {"run.champion": named}
    assert champion_input.champion_override(params, ["none", "truncation"]) == {}


def test_without_a_champion_a_run_has_none_and_its_parameters_keep_every_byte(
    project: Settings,
) -> None:
    run = start(project, "first")
    assert not (run.path / "models").exists()
    assert (run.path / "params.yaml").read_text() == PARAMS
    commit = finish(project, run).commit
    assert "models/champion.dvc" not in git.git(
        project.home, "ls-tree", "-r", "--name-only", commit
    )
    assert list((run.path / "data/augmented").iterdir()) == []


def test_the_champion_takes_part_in_the_run_and_in_its_commit(
    project: Settings, tmp_path: Path
) -> None:
    champion = crown(tmp_path, 1)
    run = start(project, "first")
    assert digest(run.path / "models/champion") == champion.digest
    commit = finish(project, run).commit
    assert digest(run.path / "data/augmented/champion") == champion.digest
    assert "models/champion.dvc" in git.git(project.home, "ls-tree", "-r", "--name-only", commit)
    assert champion.digest in git.git(project.home, "show", f"{commit}:params.yaml")
    assert git.changes(project.home) == [] and stages.unfinished(run.path) == []


def test_beginning_twice_keeps_the_champion_it_began_with(
    project: Settings, tmp_path: Path
) -> None:
    first = crown(tmp_path, 1)
    run = start(project, "run")
    pointer = (run.path / "models/champion.dvc").read_text()
    crown(tmp_path, 2)
    again = start(project, "run")  # as if its task was cleared
    assert digest(again.path / "models/champion") == first.digest
    assert (again.path / "models/champion.dvc").read_text() == pointer


def test_the_same_champion_changes_nothing_and_another_one_does(
    project: Settings, tmp_path: Path
) -> None:
    crown(tmp_path, 1)
    finish(project, start(project, "first"))
    same = start(project, "second")
    assert same.restored == ["augment"]
    finish(project, same)
    other = crown(tmp_path, 2)
    moved = start(project, "third")
    assert moved.restored == []
    finish(project, moved)
    assert digest(moved.path / "data/augmented/champion") == other.digest


def test_a_run_is_rebuilt_with_its_own_champion_from_the_remote_alone(
    project: Settings, tmp_path: Path
) -> None:
    champion = crown(tmp_path, 1)
    run = start(project, "first")
    commit = finish(project, run).commit
    workspace.remove(project, run.path)
    crown(tmp_path, 2)
    shutil.rmtree(project.home / "data/raw")
    shutil.rmtree(project.home / ".dvc/cache")
    built = rebuild.rebuild(project, commit, progress=lambda stage, number, total: None)
    assert built.differing == []
    assert digest(built.path / "data/augmented/champion") == champion.digest


def test_a_champion_that_was_tampered_with_ends_the_run(project: Settings, tmp_path: Path) -> None:
    champion = crown(tmp_path, 1)
    bundle = Path(str(mlflow_versions.by_number(champion.version).source))
    next(bundle.rglob("arrays.safetensors")).write_bytes(b"other")
    with pytest.raises(RefusedError, match="changed after it was registered"):
        start(project, "run")
    assert not (project.runs / "run" / "models").exists()
