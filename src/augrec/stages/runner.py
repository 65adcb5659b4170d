"""How a stage is run: logging to stdout, params from the working directory, errors that a parent process can read."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from augrec.errors import AugrecError, ConfigError
from augrec.files import write_text

FAILURE_VARIABLE = "AUGREC_FAILURE"
"""Names a file to which a failing stage writes its error as JSON, so that whoever started it can show it."""


def read_params() -> dict[str, Any]:
    """The params.yaml of the working directory."""
    path = Path("params.yaml")
    if not path.exists():
        raise ConfigError(
            "there is no params.yaml here", where=str(Path.cwd()), fix="run stages from the project's root"
        )
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def run(stage: Callable[..., None]) -> None:
    """Run a stage's function with the command line's words as its arguments; exit as its error demands."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    try:
        stage(*sys.argv[1:])
    except AugrecError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if FAILURE_VARIABLE in os.environ:
            write_text(Path(os.environ[FAILURE_VARIABLE]), error.to_json())
        sys.exit(error.exit_code)
