"""A platform of its own for a benchmark: a clone of the last commit, its environment, and the
processes that work for it. Linux only: memory is the proportional set size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.environments import HERE

AUGREC = Path(sys.executable).with_name("augrec")
_PORTS = {"AIRFLOW": "8190", "MLFLOW": "5190", "SERVING": "8191"}


def clone(home: Path) -> None:
    """Clone the last commit of this checkout."""
    subprocess.run(["git", "clone", "--quiet", str(HERE.parent), str(home)], check=True)


def variables(home: Path) -> dict[str, str]:
    """What tells a project's platform from any other on this machine."""
    ports = {f"AUGREC_{name}_PORT": port for name, port in _PORTS.items()}
    return {"AUGREC_HOME": str(home), "AUGREC_VAR": str(home / "var"), **ports}


def augrec(home: Path, *words: str) -> None:
    """Run the `augrec` command in a project.

    Raises:
        CalledProcessError: it failed.
    """
    subprocess.run([AUGREC, *words], cwd=home, env={**os.environ, **variables(home)}, check=True)


def processes(home: Path) -> Iterator[psutil.Process]:
    """Every process that was started for a project, this one apart."""
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("AUGREC_HOME") == str(home)
            if mine and process.pid != os.getpid():
                yield process
        except (psutil.Error, OSError):
            continue


def memory_gb(home: Path) -> float:
    """Proportional set size of all processes of a project."""
    return sum(map(_pss, processes(home))) / 2**30


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
