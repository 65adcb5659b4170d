"""Paths and addresses. The embedded and the scaled profiles differ only in these environment
variables.

| variable | default | meaning |
|---|---|---|
| AUGREC_HOME | the working directory or the nearest parent with dvc.yaml | the project |
| AUGREC_VAR | $AUGREC_HOME/var | databases, logs, run workspaces |
| AUGREC_HOST | 127.0.0.1 | the address servers listen on |
| AUGREC_AIRFLOW_PORT | 8080 | Airflow's port |
| AUGREC_MLFLOW_PORT | 5000 | MLflow's port |
| AUGREC_SERVING_PORT | 8000 | the port of the recommendation service |
| MLFLOW_TRACKING_URI | SQLite in $AUGREC_VAR/mlflow | tracking store and model registry |
| AUGREC_ONLINE_STORE | SQLite in $AUGREC_VAR/feast | online store: a path, or redis://host:port |
| AUGREC_FEAST_REGISTRY | SQLite beside the online store | Feast's registry: an SQLAlchemy URL |
| AUGREC_DVC_REMOTE | $AUGREC_VAR/dvc-remote | where data is pushed: a folder, or s3://bucket/path |
| AUGREC_GIT_REMOTE | none | where a run's hosts exchange its commit, as origin; none: one host |
| AUGREC_LOCKS | files in $AUGREC_VAR/locks | a PostgreSQL server for the registry's locks |
| AUGREC_CACHE_GB | no bound | size of this host's DVC cache, if AUGREC_GIT_REMOTE is set |
| AUGREC_PRIVACY_SECRET | none | seeds private noise, see `augrec.generators._privacy.budget` |

While the platform runs, its host and ports are the defaults of every later command.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augrec.core.errors import ConfigError
from augrec.core.files import read_json

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Addresses that only this machine reaches."""
QUICK_LIMITS: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Limits of requests to MLflow for what somebody waits for; set before MLflow is imported."""


@dataclass(frozen=True)
class Settings:
    """Paths and addresses of one installation."""

    home: Path
    var: Path
    host: str
    airflow_port: int
    mlflow_port: int
    mlflow_uri: str
    online_store: str
    serving_port: int = 8000
    feast_registry: str | None = None
    data_remote: str | None = None
    git_remote: str | None = None
    cache_bytes: int | None = None
    locks: str | None = None

    @property
    def dvc_remote(self) -> str:
        """Where DVC pushes data."""
        return self.data_remote or str(self.var / "dvc-remote")

    @property
    def runs(self) -> Path:
        """One workspace for each run."""
        return self.var / "runs"

    @property
    def airflow_url(self) -> str:
        """Airflow's UI and REST API."""
        return f"http://{self.host}:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """MLflow's UI."""
        return f"http://{self.host}:{self.mlflow_port}"

    @property
    def mlflow_page(self) -> str:
        """MLflow's UI, opened on model training: left to itself, it opens on language models."""
        return f"{self.mlflow_url}/#/experiments?workflowType=machine_learning"

    @property
    def serving_url(self) -> str:
        """The service's page and API."""
        return f"http://{self.host}:{self.serving_port}"


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: neither the working directory nor a parent is a project, or a port is not a
            number.
    """
    home = _home()
    var = Path(os.environ.get("AUGREC_VAR", home / "var")).resolve()
    running = read_json(var / "platform.json") if (var / "platform.json").exists() else {}
    return Settings(
        home=home,
        var=var,
        host=os.environ.get("AUGREC_HOST", running.get("host", "127.0.0.1")),
        airflow_port=_port("AUGREC_AIRFLOW_PORT", running.get("airflow_port", 8080)),
        mlflow_port=_port("AUGREC_MLFLOW_PORT", running.get("mlflow_port", 5000)),
        mlflow_uri=os.environ.get(
            "MLFLOW_TRACKING_URI", f"sqlite:///{var}/mlflow/mlflow.db?timeout=60"
        ),
        online_store=os.environ.get("AUGREC_ONLINE_STORE", f"{var}/feast/online.db"),
        serving_port=_port("AUGREC_SERVING_PORT", running.get("serving_port", 8000)),
        feast_registry=os.environ.get("AUGREC_FEAST_REGISTRY"),
        data_remote=os.environ.get("AUGREC_DVC_REMOTE"),
        git_remote=os.environ.get("AUGREC_GIT_REMOTE"),
        cache_bytes=_gigabytes("AUGREC_CACHE_GB"),
        locks=os.environ.get("AUGREC_LOCKS"),
    )


def _home() -> Path:
    if named := os.environ.get("AUGREC_HOME"):
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        workspace_of_a_run = (folder.parent / f"{folder.name}.json").exists()
        if (
            (folder / "dvc.yaml").exists()
            and (folder / "params.yaml").exists()
            and not workspace_of_a_run
        ):
            return folder
    raise ConfigError(
        "this folder is not in an augrec project",
        where=str(here),
        fix="change to the folder that contains dvc.yaml, or set AUGREC_HOME to it",
    )


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdigit():
        raise ConfigError(
            f"{variable} is {text!r}, not a port number",
            where="environment",
            fix=f"for example {variable}={default}",
        )
    return int(text)


def _gigabytes(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        return round(float(text) * 1e9)
    except ValueError as error:
        raise ConfigError(
            f"{variable} is {text!r}, not a number of gigabytes",
            where="environment",
            fix=f"for example {variable}=50",
        ) from error
