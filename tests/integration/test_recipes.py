"""The files that docs/add-a-component.md prints work as printed: in the contracts and in a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from augrec.core.files import read_json
from pages import HOME, printed_file

GENERATOR = Path("src/augrec/generators/item_pairs.py")
RECOMMENDER = Path("src/augrec/recommenders/random_walk.py")
RUN_ALL_STAGES = """
import importlib, os, pathlib, sys
from augrec.versioning import stages
for stage in stages.plan(pathlib.Path.cwd()):
    module, *words = stage.cmd.removeprefix("python -m ").split()
    importlib.import_module(module).main(*words)
"""
"""In the order of dvc.yaml, in one process: starting one for each stage takes most of the time."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the two files in it, and a simulated shop as its data."""
    folder = tmp_path_factory.mktemp("recipes") / "project"
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=HOME)
    for name in names.decode().splitlines():
        if (HOME / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, folder / name)
    for path in (GENERATOR, RECOMMENDER):
        assert not (folder / path).exists()
        (folder / path).write_text(printed_file(str(path)), encoding="utf-8")
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["run"] |= {
        "generators": [GENERATOR.stem],
        "policies": ["none", "bootstrap", GENERATOR.stem],
        "recommenders": ["popularity", RECOMMENDER.stem],
    }
    params["policies"][GENERATOR.stem] = [{"mix": {"sample": GENERATOR.stem}}]
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    size = ["--users", "300", "--items", "60", "--interactions", "6000"]
    python(folder, "-c", "from augrec.cli import app; app()", "data", "simulate", *size)
    return folder


def python(folder: Path, *words: str) -> None:
    """Run Python in the copy, with the copy's code."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "AUGREC_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"


def test_the_printed_files_are_as_short_as_the_page_says() -> None:
    def lines(path: Path) -> int:
        return sum(bool(line.strip()) for line in printed_file(str(path)).splitlines())

    assert lines(GENERATOR) <= 30 and lines(RECOMMENDER) <= 40


def test_the_contracts_accept_the_printed_files(project: Path) -> None:
    tests = ["tests/contract/test_generators.py", "tests/contract/test_recommenders.py"]
    names = f"{GENERATOR.stem} or {RECOMMENDER.stem}"
    python(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", names)


def test_a_run_goes_from_training_to_a_decision_with_the_printed_files(project: Path) -> None:
    python(project, "-c", RUN_ALL_STAGES)
    decision = read_json(project / "reports" / "decision.json")
    arms = {(arm["recommender"], arm["policy"]) for arm in decision["arms"]}
    assert {(RECOMMENDER.stem, policy) for policy in ("none", "bootstrap", GENERATOR.stem)} <= arms
    assert decision["audits"][GENERATOR.stem]["passed"] in (True, False)
    [compared] = [one for one in decision["recommenders"] if one["recommender"] == RECOMMENDER.stem]
    assert compared["candidate"] in (GENERATOR.stem, None)
