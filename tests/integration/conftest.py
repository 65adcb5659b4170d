"""Shared by the tests of real systems."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database as it is at first, for tests to copy: making one takes seconds."""
    from augrec.registry.connection import client  # most tests do without MLflow and its import

    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUGREC_HOME", str(folder))
        for name in ("AUGREC_VAR", "MLFLOW_TRACKING_URI"):
            environment.delenv(name, raising=False)
        client().search_experiments()
    return folder / "var" / "mlflow" / "mlflow.db"


@pytest.fixture
def own_registry(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder var of a project with an empty registry, which this process uses during the
    test."""
    folder = tmp_path / "home" / "var"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, folder / "mlflow/mlflow.db")
    monkeypatch.setenv("AUGREC_HOME", str(folder.parent))
    monkeypatch.delenv("AUGREC_VAR", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder
