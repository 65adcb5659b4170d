"""Processes of the platform alone, without Airflow and MLflow: what is ended, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from augrec.core import settings
from augrec.core.files import write_json
from augrec.orchestration import part, supervisor


class Parts:
    """Starts parts as supervisord does.

    Args:
        var: the folder of their platform.
    """

    def __init__(self, var: Path) -> None:
        self.var = var
        self.started: list[subprocess.Popen[bytes]] = []
        (var / "logs").mkdir(parents=True)

    def start(self, name: str, var: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a part whose program is `sleep`; returns when that runs."""
        place = var or self.var
        process = subprocess.Popen(
            [sys.executable, "-m", "augrec.orchestration.part", "sleep", "600"],
            env={**os.environ, part.NAME: name, "AUGREC_VAR": str(place)},
        )
        self.started.append(process)
        while psutil.Process(process.pid).name() != "sleep":
            assert process.poll() is None
            time.sleep(0.05)
        return process


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    made = Parts(tmp_path / "home" / "var")
    yield made
    for process in made.started:
        process.kill()
        process.wait()


def test_a_part_that_starts_ends_what_its_earlier_start_left_and_nothing_else(
    parts: Parts, tmp_path: Path
) -> None:
    (tmp_path / "other" / "logs").mkdir(parents=True)
    left, neighbour = parts.start("mlflow"), parts.start("serving")
    elsewhere = parts.start("mlflow", tmp_path / "other")
    again = parts.start("mlflow")
    assert left.wait() == -signal.SIGKILL
    assert [one.poll() for one in (neighbour, elsewhere, again)] == [None] * 3


def test_each_start_of_a_part_is_counted(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGREC_HOME", str(parts.var.parent))
    parts.start("mlflow")
    parts.start("serving").kill()
    last = parts.start("mlflow")
    found = supervisor.processes(settings.load())
    assert found["mlflow"] == supervisor.Process(last.pid, restarts=1)
    assert found["serving"].pid is None
    assert found["scheduler"] == supervisor.Process(None, restarts=0)


def test_another_program_with_the_id_of_a_former_supervisord_is_left_alone(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGREC_HOME", str(parts.var.parent))
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        write_json(parts.var / "platform.json", {"pid": bystander.pid})
        assert supervisor.pid(settings.load()) is None
        assert supervisor.stop(settings.load()) is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_stopping_ends_the_parts_of_a_supervisord_that_was_killed(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGREC_HOME", str(parts.var.parent))
    left = parts.start("serving")
    assert supervisor.stop(settings.load()) is True
    assert not psutil.pid_exists(left.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process of its parent's death")
def test_a_task_ends_with_the_process_that_watches_it() -> None:
    watching = textwrap.dedent("""
        import os, time
        from augrec.orchestration.operators import end_with_supervisor
        if os.fork() == 0:
            end_with_supervisor()
            print(os.getpid(), flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", watching], stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        task = psutil.Process(int(watcher.stdout.readline()))
        watcher.kill()
    gone, _ = psutil.wait_procs([task], timeout=60)
    assert gone
