"""PostgreSQL, Redis and an S3 server for a test: of its own, on free ports, in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from platform_project import free_port

KEY, SECRET = "augrec-key", "augrec-secret"
_DEBIAN = {
    "postgresql": "/usr/lib/postgresql/*/bin/postgres",
    "redis-server": "/usr/bin/redis-server",
}


class Service:
    """A server that can be stopped and started again.

    Args:
        command: of the server.
        port: where it listens.
        folder: where it keeps its data, and its log beside that.
    """

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self._command, self.port, self._folder = command, port, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(1800):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, self.log()
            time.sleep(0.1)
        raise AssertionError(f"{self._command[0]} does not listen\n{self.log()}")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            os.killpg(self._process.pid, sign)
            self._process.wait()

    def log(self) -> str:
        """The end of what it said."""
        return self._folder.with_suffix(".log").read_text(errors="replace")[-3000:]


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """A service that is stopped in the end."""
    service.start()
    try:
        yield service
    finally:
        service.stop()


def postgres(folder: Path) -> Service:
    """A PostgreSQL server with nothing in it; its superuser is `augrec`."""
    programs = _program("postgresql").parent
    port = free_port()
    as_user: list[str] = []
    folder.mkdir()
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents[: len(folder.parents) - 2]:
            parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run(
        [*as_user, programs / "initdb", "--pgdata", folder, "--username=augrec", "--auth=trust"],
        check=True,
        capture_output=True,
    )
    command = [*as_user, str(programs / "postgres"), "-D", str(folder), "-p", str(port)]
    return Service([*command, "-k", str(folder), "-c", "listen_addresses=127.0.0.1"], port, folder)


def create_databases(server: Service, *names: str) -> None:
    """Create databases, as soon as the server has started up."""
    import psycopg

    address = f"postgresql://augrec@127.0.0.1:{server.port}/postgres"
    for left in reversed(range(600)):
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                for name in names:
                    connection.execute(f'CREATE DATABASE "{name}"'.encode())
            return
        except psycopg.OperationalError:
            assert left, server.log()
            time.sleep(0.1)


def redis(folder: Path) -> Service:
    """A Redis server that keeps what it was told over a restart."""
    program, port = _program("redis-server"), free_port()
    folder.mkdir()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    return Service([*command, "--appendonly", "yes", "--save", ""], port, folder)


def s3(folder: Path) -> Service:
    """An S3 server over the buckets that are folders of `folder`."""
    pytest.importorskip("dvc_s3", reason="`make scale` installs what this needs")
    port = free_port()
    (folder / "augrec").mkdir(parents=True)
    rclone = Path(sys.executable).parent / "rclone"
    command = [str(rclone), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    return Service([*command, "--auth-key", f"{KEY},{SECRET}", str(folder)], port, folder)


def _program(package: str) -> Path:
    """A program of a Debian package, which is installed where that is possible."""
    pattern = _DEBIAN[package].lstrip("/")
    found = sorted(Path("/").glob(pattern))
    if not found and os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], capture_output=True)
        found = sorted(Path("/").glob(pattern))
    if not found:
        pytest.skip(f"{package} is neither installed nor can it be installed here")
    return found[-1]
