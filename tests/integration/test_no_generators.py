"""A run without generators compares real data and placebos alone; DVC restores all of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from augrec.core.config import PARAMS, read_params
from augrec.core.files import read_json
from augrec.data.canonical import write_raw
from augrec.data.simulate import ShopConfig, simulate
from augrec.versioning import stages

HOME = Path(__file__).parents[2]
MADE = ("data/config", "data/synthetic", "models", "reports")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    home = tmp_path / "project"
    for name in ("src", "feature_repo"):
        shutil.copytree(HOME / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(HOME / name, home / name)
    params = read_params(HOME)
    params["run"] |= {
        "generators": [],
        "policies": ["none", "bootstrap"],
        "recommenders": ["popularity"],
        "repetitions": 1,
    }
    (home / PARAMS).write_text(yaml.safe_dump(params))
    shop = simulate(ShopConfig(n_users=200, n_items=60, n_interactions=4000), seed=1)
    write_raw(home / "data/raw", shop.interactions, shop.items, shop.users, {"source": "simulated"})
    Repo.init(str(home), no_scm=True).close()
    return home


def test_a_run_without_generators_runs_to_its_decision_and_is_restored(project: Path) -> None:
    plan = stages.plan(project)
    assert {stage.group for stage in plan}.isdisjoint({"train_generator", "synthesize", "audit"})
    assert {stages.run_stage(project, stage.name) for stage in plan} == {"ran"}
    decision = read_json(project / "reports/decision.json")
    assert {arm["policy"] for arm in decision["arms"]} == {"none", "bootstrap"}
    assert decision["audits"] == {}
    assert (project / "reports/report.html").exists()
    for folder in MADE:
        shutil.rmtree(project / folder)
    (project / "dvc.lock").unlink()
    assert {stages.run_stage(project, stage.name) for stage in plan} == {"restored"}
    assert read_json(project / "reports/decision.json") == decision
