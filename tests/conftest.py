"""Shared by all tests: nothing phones home, nothing touches the project's own state."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.update(
    {
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "FEAST_USAGE": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MPLBACKEND": "agg",
    }
)
for _name in (
    "AUGREC_HOME",
    "AUGREC_VAR",
    "AUGREC_HOST",
    "MLFLOW_TRACKING_URI",
    "AUGREC_ONLINE_STORE",
):
    os.environ.pop(_name, None)


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
