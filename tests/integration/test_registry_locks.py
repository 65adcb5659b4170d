"""The locks of the registry where it is shared by several hosts: in a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import services
from augrec.core.errors import TransientError
from augrec.registry.connection import exclusive

pytest.importorskip("psycopg", reason="`make scale` installs what this needs")

HOLD = """
import sys
from augrec.registry.connection import exclusive

with exclusive("registry"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    with services.running(services.postgres(tmp_path_factory.mktemp("locks") / "pg")) as made:
        services.create_databases(made, "mlflow")
        yield made


@pytest.fixture(autouse=True)
def shared(server: services.Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setenv(
        "AUGREC_LOCKS", f"postgresql+psycopg://augrec@127.0.0.1:{server.port}/mlflow"
    )


def test_a_lock_is_held_against_other_hosts_until_its_process_is_gone(tmp_path: Path) -> None:
    elsewhere = {**os.environ, "AUGREC_HOME": str(tmp_path / "elsewhere")}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=elsewhere,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(TransientError, match="changing the registry"), exclusive("registry", 0):
            raise AssertionError("two hold it")
        with exclusive("tracking", 0):  # another lock
            pass
    finally:
        holder.kill()
        holder.communicate()
    with exclusive("registry"):
        pass
