"""Start, stop and check the embedded platform: Airflow, MLflow and the service under
supervisord."""

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

from augrec.core.errors import ConfigError, TransientError
from augrec.core.settings import LOOPBACK, Settings
from augrec.orchestration import supervisor
from augrec.orchestration.environment import password
from augrec.orchestration.part import end, leftovers

START_TIMEOUT_S = 300.0
POOLS = {
    "gpu": "generator training: one at a time on each accelerator",
    "promotion": "changes of the champion: strictly one at a time",
}


@dataclass(frozen=True)
class Health:
    """How the platform is.

    Attributes:
        running: whether supervisord runs.
        parts: whether each part runs and answers.
        restarts: how often each has been started again since `augrec up`.
    """

    running: bool
    parts: dict[str, bool]
    restarts: dict[str, int]

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
        # of a platform whose supervisord was killed: its parts hold the ports
        end(leftovers(settings.var))
        _check_ports(settings)
        logs(settings).mkdir(parents=True, exist_ok=True)
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
        supervisor.spawn(settings)
    _wait(settings, say)


def down(settings: Settings) -> bool:
    """Stop the platform; False when nothing of it was running."""
    return supervisor.stop(settings)


def is_running(settings: Settings) -> bool:
    """Whether supervisord is alive."""
    return supervisor.pid(settings) is not None


def health(settings: Settings) -> Health:
    """Check every part: its process, and what it answers over HTTP."""
    processes, answers = supervisor.processes(settings), _answers(settings)
    return Health(
        is_running(settings),
        {part: found.pid is not None and part in answers for part, found in processes.items()},
        {part: found.restarts for part, found in processes.items()},
    )


def logs(settings: Settings) -> Path:
    """The folder with a log of each part, and supervisord's platform.log."""
    return settings.var / "logs"


def _answers(settings: Settings) -> set[str]:
    found = set()
    try:
        answer = httpx.get(f"{settings.airflow_url}/api/v2/monitor/health", timeout=5).json()
        found.add("api-server")
        for part in ("scheduler", "dag-processor", "triggerer"):
            if (answer.get(part.replace("-", "_")) or {}).get("status") == "healthy":
                found.add(part)
    except (httpx.HTTPError, ValueError):
        pass
    for part, url in (
        ("mlflow", f"{settings.mlflow_url}/health"),
        ("serving", f"{settings.serving_url}/health/live"),
    ):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                found.add(part)
    return found


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
                where=str(logs(settings)),
                fix="the end of that part's log says why; then run `augrec down` and `augrec up`",
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


def _check_ports(settings: Settings) -> None:
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


def _airflow(settings: Settings, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *words],
        env=supervisor.variables(settings),
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
