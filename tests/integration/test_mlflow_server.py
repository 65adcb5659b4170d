"""MLflow's server as the platform starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from platform_project import free_port

START_TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[psutil.Process, str, Path]]:
    """Its process, its address, and where it keeps artifacts."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    words = [word for option in options.items() for word in option]
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "augrec.registry.server", *words], stdout=log, stderr=log
        )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_TIMEOUT_S
    try:
        while not _healthy(address):
            assert started.poll() is None and time.monotonic() < deadline, (
                folder / "log"
            ).read_text()
            time.sleep(0.2)
        yield psutil.Process(started.pid), address, folder / "artifacts"
    finally:
        started.terminate()
        started.wait(30)


def test_it_is_one_process(server: tuple[psutil.Process, str, Path]) -> None:
    process, _, _ = server
    assert "uvicorn" in process.cmdline()
    assert process.children(recursive=True) == []


def test_it_keeps_artifacts_where_it_is_told(server: tuple[psutil.Process, str, Path]) -> None:
    _, address, artifacts = server
    path = f"{address}/api/2.0/mlflow-artifacts/artifacts/a/b.txt"
    assert httpx.put(path, content=b"kept", timeout=60).status_code == 200
    assert (artifacts / "a/b.txt").read_bytes() == b"kept"


def test_a_page_of_another_host_may_not_use_it(server: tuple[psutil.Process, str, Path]) -> None:
    _, address, _ = server
    path = f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert httpx.get(path, timeout=60).status_code == 200
    answer = httpx.get(path, headers={"Host": "elsewhere.example"}, timeout=60)
    assert answer.status_code == 403


def _healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False
