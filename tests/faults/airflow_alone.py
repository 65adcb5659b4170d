"""Airflow without the rest of the platform, for tests of Airflow."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from platform_project import CHECKOUT, RUN_TIMEOUT_S, Found, free_port

from augrec.core import settings as settings_
from augrec.core.errors import TransientError
from augrec.orchestration import supervisor
from augrec.orchestration.client import Airflow
from augrec.orchestration.part import end

AIRFLOW = [sys.executable, "-m", "airflow"]
PARTS = {
    "api-server": [*AIRFLOW, "api-server", "--workers", "1"],
    "dag-processor": [*AIRFLOW, "dag-processor"],
    "scheduler": [sys.executable, "-m", "augrec.orchestration.scheduler"],
}
"""Part -> command, as in infra/supervisord.conf; `AIRFLOW__API__PORT` says where to listen."""


@dataclass(frozen=True)
class Alone:
    """Airflow's client, and the processes of its parts."""

    client: Airflow
    processes: dict[str, subprocess.Popen[bytes]]
    log: Path

    def until(self, ready: Callable[[], Found]) -> Found:
        """Ask again and again until there is an answer."""
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while True:
            with suppress(TransientError, httpx.HTTPError):  # of a machine that is very busy
                if answer := ready():
                    return answer
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-5000:]
            time.sleep(0.2)


@contextmanager
def airflow_alone(folder: Path, parts: Sequence[str]) -> Iterator[Alone]:
    """Some parts of Airflow, the API server first, with the profile's settings and with the DAGs in
    the folder's dags/."""
    (folder / "dags").mkdir(exist_ok=True)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGREC_HOME", str(CHECKOUT))
        patch.setenv("AUGREC_VAR", str(folder))
        patch.setenv("AUGREC_AIRFLOW_PORT", str(free_port()))
        patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder / "dags"))
        variables = supervisor.variables(settings_.load())
        log = stack.enter_context((folder / "log").open("wb"))
        subprocess.run(
            [*AIRFLOW, "db", "migrate"], env=variables, stdout=log, stderr=log, check=True
        )
        processes: dict[str, subprocess.Popen[bytes]] = {}
        client: Airflow | None = None
        try:
            for part in parts:
                processes[part] = subprocess.Popen(
                    PARTS[part], env=variables, stdout=log, stderr=log
                )
                client = client or _client(processes[part])
            assert client is not None
            yield Alone(client, processes, folder / "log")
        finally:
            if client is not None:
                client.close()
            for process in reversed(processes.values()):
                if process.poll() is None:
                    root = psutil.Process(process.pid)
                    end([root, *root.children(recursive=True)])  # one may stand still
                process.wait()


def _client(server: subprocess.Popen[bytes]) -> Airflow:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while True:
        try:
            return Airflow(settings_.load())
        except TransientError:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
