"""The platform's processes: supervisord, and the parts that it starts and restarts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from augrec.core.errors import ConfigError
from augrec.core.files import read_json, write_json
from augrec.core.settings import Settings
from augrec.orchestration.environment import environment
from augrec.orchestration.part import end, leftovers, starts_file

PARTS = ("api-server", "scheduler", "dag-processor", "triggerer", "mlflow", "serving")
"""The programs of infra/supervisord.conf."""
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Process:
    """One part of the platform.

    Attributes:
        pid: of its process; None if it does not run.
        restarts: how often it has been started again since `augrec up`.
    """

    pid: int | None
    restarts: int


def spawn(settings: Settings) -> None:
    """Start supervisord with infra/supervisord.conf."""
    starts_file(settings.var).write_text("", encoding="utf-8")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "supervisor.supervisord",
            "--configuration",
            str(settings.home / "infra" / "supervisord.conf"),
        ],
        env={**variables(settings), "AUGREC_PYTHON": sys.executable},
        cwd=settings.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    write_json(
        _record(settings),
        {
            "pid": process.pid,
            "host": settings.host,
            "airflow_port": settings.airflow_port,
            "mlflow_port": settings.mlflow_port,
            "serving_port": settings.serving_port,
        },
    )


def become_worker(settings: Settings, queues: str, tasks: int, name: str = "") -> NoReturn:
    """Replace this process by Airflow's worker of the profile.

    Raises:
        ConfigError: the profile's executor has no workers.
    """
    own = variables(settings)
    kind = own.get("AUGREC_WORKER")
    if kind is None:
        raise ConfigError(
            "this profile has no workers: the scheduler runs all tasks itself",
            where="AUGREC_PROFILE",
            fix="set it to the profile with which `augrec up` was started, for example celery",
        )
    os.chdir(settings.home)
    words = ["airflow", kind, "worker", "--queues", queues, "--concurrency", str(tasks)]
    if name:
        words += [f"--{kind}-hostname", name]
    os.execvpe(words[0], words, own)


def stop(settings: Settings) -> bool:
    """Stop supervisord and all parts, running tasks and their stages included; False if nothing
    ran."""
    running = pid(settings)
    if running is not None:
        supervisord = psutil.Process(running)
        supervisord.terminate()
        psutil.wait_procs([supervisord], timeout=_STOP_TIMEOUT_S)
        end([supervisord])
    left = leftovers(settings.var)
    end(left)
    _record(settings).unlink(missing_ok=True)
    return running is not None or bool(left)


def pid(settings: Settings) -> int | None:
    """The process id of the running supervisord, or None."""
    path = _record(settings)
    if not path.exists():
        return None
    try:
        process = psutil.Process(int(read_json(path)["pid"]))
        # after a restart of the machine another program may have its id
        return process.pid if "supervisor.supervisord" in process.cmdline() else None
    except psutil.Error:
        return None


def processes(settings: Settings) -> dict[str, Process]:
    """Each part as it was last started."""
    path = starts_file(settings.var)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    starts = [json.loads(line) for line in lines]
    counts = Counter(start["part"] for start in starts)
    last = {start["part"]: int(start["pid"]) for start in starts}
    return {
        part: Process(
            last[part] if part in last and _alive(last[part]) else None, max(counts[part] - 1, 0)
        )
        for part in PARTS
    }


def variables(settings: Settings) -> dict[str, str]:
    """The environment of the parts: that of `environment`, with the programs installed with this
    Python first on PATH, so that they are found even if the virtual environment is not
    activated."""
    own = environment(settings)
    return {**own, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}"}


def _record(settings: Settings) -> Path:
    """The file with supervisord's id, host and ports; `augrec.core.settings` reads it for later
    commands."""
    return settings.var / "platform.json"


def _alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
