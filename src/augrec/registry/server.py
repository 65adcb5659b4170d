"""Runs `mlflow server` as one process: `python -m augrec.registry.server OPTIONS`.

MLflow starts uvicorn as a child and waits for it, with all of MLflow loaded: 200 MB of memory. Here
uvicorn takes the place of the process that would wait. If a later MLflow starts it in another way,
there are two processes again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.server
from mlflow.cli import cli


def main(options: Sequence[str]) -> None:
    """Become MLflow's server."""
    vars(mlflow.server)["_exec_cmd"] = _become
    cli(["server", *options])


def _become(command: list[str], *, extra_env: Mapping[str, str], **_: Any) -> None:
    os.execvpe(command[0], command, {**os.environ, **extra_env})


if __name__ == "__main__":
    main(sys.argv[1:])
