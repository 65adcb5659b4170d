"""Start, stop and check the embedded platform: Airflow, MLflow and the service under one process
manager."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from augrec.core.errors import ConfigError, TransientError
from augrec.core.files import read_json, write_json
from augrec.core.settings import LOOPBACK, Settings
from augrec.orchestration.environment import environment, password

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 40.0
POOLS = {
    "gpu": "generator training: one at a time on each accelerator",
    "promotion": "changes of the champion: strictly one at a time",
}


@dataclass(frozen=True)
class Health:
    """Which parts of the platform answer."""

    running: bool
    parts: dict[str, bool]

    @property
    def ready(self) -> bool:
        """Whether all of them do."""
        return self.running and all(self.parts.values())


def up(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Start the platform unless it is running, and wait until every part responds.

    Raises:
        ConfigError: a port is in use, or the address is reachable from other machines.
        TransientError: a part did not start; the message names the log.
    """
    if is_running(settings):
        say("The platform is already running.")
    else:
        _check_address(settings)
        (settings.var / "logs").mkdir(parents=True, exist_ok=True)
        for folder in ("mlflow/artifacts", "feast", "runs"):
            (settings.var / folder).mkdir(parents=True, exist_ok=True)
        password(settings)
        from augrec.registry import connection  # imports MLflow, which takes seconds

        say("Preparing Airflow's database …")
        _airflow(settings, "db", "migrate")
        for pool, description in POOLS.items():
            _airflow(settings, "pools", "set", pool, "1", description)
        say("Preparing MLflow's database …")
        connection.prepare()
        say("Starting Airflow, MLflow and the service …")
        _spawn(settings)
    _wait(settings, say)


def down(settings: Settings) -> bool:
    """Stop the platform; False when it was not running."""
    pid = _pid(settings)
    if pid is None:
        return False
    manager = psutil.Process(pid)
    # running tasks, and the stages they run, would outlive the scheduler
    family = [manager, *manager.children(recursive=True)]
    manager.terminate()
    psutil.wait_procs([manager], timeout=STOP_TIMEOUT_S)
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        _, left = psutil.wait_procs(family, timeout=5)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                stop(process)
    _record(settings).unlink(missing_ok=True)
    return True


def is_running(settings: Settings) -> bool:
    """Whether the process manager is alive."""
    return _pid(settings) is not None


def health(settings: Settings) -> Health:
    """Check every part over HTTP."""
    parts = {
        "api-server": False,
        "scheduler": False,
        "dag-processor": False,
        "triggerer": False,
        "mlflow": False,
        "serving": False,
    }
    try:
        answer = httpx.get(f"{settings.airflow_url}/api/v2/monitor/health", timeout=5).json()
        parts["api-server"] = True
        for part in ("scheduler", "dag-processor", "triggerer"):
            parts[part] = (answer.get(part.replace("-", "_")) or {}).get("status") == "healthy"
    except (httpx.HTTPError, ValueError):
        pass
    for part, url in (
        ("mlflow", f"{settings.mlflow_url}/health"),
        ("serving", f"{settings.serving_url}/health/live"),
    ):
        with contextlib.suppress(httpx.HTTPError):
            parts[part] = httpx.get(url, timeout=5).status_code == 200
    return Health(is_running(settings), parts)


def log_file(settings: Settings) -> Path:
    """The log of all parts."""
    return settings.var / "logs" / "platform.log"


def _wait(settings: Settings, say: Callable[[str], None]) -> None:
    deadline, reported = time.monotonic() + START_TIMEOUT_S, set[str]()
    while True:
        state = health(settings)
        for part in sorted(part for part, healthy in state.parts.items() if healthy):
            if part not in reported:
                reported.add(part)
                say(f"  {part} is ready")
        if state.ready:
            return
        missing = ", ".join(part for part, healthy in state.parts.items() if not healthy)
        if not state.running or time.monotonic() > deadline:
            raise TransientError(
                f"the platform did not start: {missing}",
                where=str(log_file(settings)),
                fix="the end of that log says why; then run `augrec down` and `augrec up`",
            )
        time.sleep(0.5)


def _check_address(settings: Settings) -> None:
    if settings.host not in LOOPBACK and "AUGREC_BEHIND_AUTHENTICATION" not in os.environ:
        raise ConfigError(
            f"AUGREC_HOST={settings.host} would make Airflow and MLflow reachable from other "
            "machines",
            where="environment",
            fix="MLflow has no login: put an authenticating proxy in front of it and set "
            "AUGREC_BEHIND_AUTHENTICATION=1",
        )
    if (
        settings.host not in LOOPBACK
        and not {"AUGREC_API_KEYS", "AUGREC_API_KEYS_FILE"} & os.environ.keys()
    ):
        raise ConfigError(
            f"AUGREC_HOST={settings.host} would let anyone call the service",
            where="environment",
            fix="create a key with `augrec serve --new-key` and set AUGREC_API_KEYS to its hash",
        )
    for variable, port in (
        ("AUGREC_AIRFLOW_PORT", settings.airflow_port),
        ("AUGREC_MLFLOW_PORT", settings.mlflow_port),
        ("AUGREC_SERVING_PORT", settings.serving_port),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                raise ConfigError(
                    f"port {port} is in use by another program",
                    where=settings.host,
                    fix=f"stop it, or choose another port: {variable}={port + 10} augrec up",
                ) from error


def _spawn(settings: Settings) -> None:
    with log_file(settings).open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "honcho",
                "--procfile",
                str(settings.home / "infra" / "Procfile"),
                "--app-root",
                str(settings.home),
                "--env",
                os.devnull,
                "start",
            ],
            env=_with_own_programs(environment(settings)),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
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


def _airflow(settings: Settings, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *words],
        env=_with_own_programs(environment(settings)),
        cwd=settings.home,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise TransientError(
            f"airflow {' '.join(words[:2])} failed",
            where=str(settings.var / "airflow"),
            fix=done.stderr.strip()[-2000:],
        )


def _with_own_programs(variables: dict[str, str]) -> dict[str, str]:
    """Put the programs installed with this Python first on PATH, so that `airflow` and `mlflow` are
    found even if the virtual environment is not activated."""
    return {
        **variables,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}",
    }


def _record(settings: Settings) -> Path:
    """The file with the process manager's id, host and ports; `augrec.core.settings` reads it for
    later commands."""
    return settings.var / "platform.json"


def _pid(settings: Settings) -> int | None:
    path = _record(settings)
    pid = int(read_json(path)["pid"]) if path.exists() else None
    return pid if pid is not None and _alive(pid) else None


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not Path("/proc/self").exists()
