"""Shared by the tests of real systems."""

from __future__ import annotations

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
