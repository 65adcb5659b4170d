"""Where things are. The embedded and the scaled profile differ by these environment variables
alone.

| variable | default | meaning |
|---|---|---|
| AUGREC_HOME | the folder with dvc.yaml, here or above | the project |
| AUGREC_VAR | $AUGREC_HOME/var | databases, logs, run workspaces |
| AUGREC_HOST | 127.0.0.1 | where servers listen |
| AUGREC_AIRFLOW_PORT, AUGREC_MLFLOW_PORT, AUGREC_SERVING_PORT | 8080, 5000, 8000 | their ports;
those of a running platform are remembered |
| MLFLOW_TRACKING_URI | sqlite in $AUGREC_VAR/mlflow | tracking store and registry |
| AUGREC_ONLINE_STORE | sqlite in $AUGREC_VAR/feast | Feast's online store: a path, or
redis://host:port |
| AUGREC_PRIVACY_SECRET | none | goes into the seed of the noise of private generators, see
`augrec.generators._privacy.budget` |
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
    def serving_url(self) -> str:
        """The service's page and API."""
        return f"http://{self.host}:{self.serving_port}"


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: no project is found here or above, or a port is not a number.
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
        mlflow_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{var}/mlflow/mlflow.db"),
        online_store=os.environ.get("AUGREC_ONLINE_STORE", f"{var}/feast/online.db"),
        serving_port=_port("AUGREC_SERVING_PORT", running.get("serving_port", 8000)),
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
        "this is not an augrec project",
        where=str(here),
        fix="go to the folder that holds dvc.yaml, or set AUGREC_HOME to it",
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
