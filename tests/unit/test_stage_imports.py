"""What each stage's process loads: an import costs more than many a stage's work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).parents[2]
HEAVY = (
    "airflow",
    "dvc",
    "feast",
    "great_expectations",
    "lightning",
    "matplotlib",
    "mlflow",
    "optuna",
    "pandas",
    "pyarrow",
    "scipy",
    "scipy.stats",
    "sklearn",
    "torch",
)
STAGES: dict[str, set[str]] = {
    "configure": {"scipy"},
    "validate": set(),
    "prepare": set(),
    "select": {"scipy"},
    "features": set(),
    "taste_groups": {"scipy"},
    "training_set": {"feast", "pandas", "pyarrow"},
    "train_generator": {"scipy", "torch"},
    "synthesize": {"scipy"},
    "audit": {"scipy", "scipy.stats"},
    "augment": {"scipy"},
    "train": {"scipy"},
    "evaluate": {"scipy"},
    "decide": {"scipy"},
    "refit": {"scipy"},
}
"""Stage -> what its module loads. Components, Great Expectations and plots follow when they are
used."""
WITHOUT_TORCH = ("content", "demographics", "ease", "item_knn", "popularity", "router")
"""Recommenders that are trained and asked without torch."""
PLAN = f"""
from pathlib import Path
from augrec.stages import planning
planning.check(Path({str(HOME)!r}), {{
    "run.generators": [], "run.policies": ["none", "popularity_random"],
    "run.recommenders": {[name for name in WITHOUT_TORCH if name != "router"]},
}})
"""
"""The router's own models are networks, unless it is told otherwise."""
LOAD = """
import json, os, sys
import numpy, polars, pydantic, yaml  # what every stage has: loaded once, before the forks

jobs, heavy = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for name, code in jobs.items():
    pid = os.fork()
    if pid == 0:
        exec(code)
        print(json.dumps({name: [one for one in heavy if one in sys.modules]}), flush=True)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit(f"{name} cannot be imported")
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Stage or recommender -> the heavy modules that a process has after importing it."""
    jobs = {name: f"import augrec.stages.{name}" for name in STAGES} | {
        name: f"from augrec.recommenders.base import find; find({name!r})" for name in WITHOUT_TORCH
    }
    jobs |= {"plan": PLAN, "serve": "import augrec.serving.app"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(jobs), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    return {name: set(modules) for name, modules in found.items()}


def test_every_stage_is_in_the_table() -> None:
    assert set(STAGES) == set(yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_what_it_uses_and_no_more(loaded: dict[str, set[str]], stage: str) -> None:
    assert loaded[stage] == STAGES[stage]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_a_recommender_without_a_network_does_not_load_torch(
    loaded: dict[str, set[str]], name: str
) -> None:
    assert loaded[name] == {"scipy"}


def test_a_run_without_a_network_is_planned_without_torch(loaded: dict[str, set[str]]) -> None:
    assert "torch" not in loaded["plan"]


def test_the_service_loads_torch_only_with_a_model_that_needs_it(
    loaded: dict[str, set[str]],
) -> None:
    assert loaded["serve"] == {"scipy"}


def test_what_is_loaded_before_a_fork_starts_no_thread_and_no_polars() -> None:
    code = """
import sys, threading
from augrec.versioning.preload import preload
preload()
print(threading.active_count(), "dvc.repo" in sys.modules, "polars" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True", "False"], done.stderr
