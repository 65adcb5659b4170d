"""Hosts that share no disk, for test_many_hosts.py: each has a home, a DVC cache and a worker of
its own, all on this machine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from platform_project import Project, environment, free_port, shop

import services
from augrec.versioning import git

FEW = {"run.policies": ["none", "profile_gan"]}
"""What takes part in a run, so that a run has few tasks."""


class Worker:
    """A worker of Celery on a host.

    Args:
        home: the host's clone of the project.
        variables: of the profile.
        queues: that it serves, comma-separated.
    """

    def __init__(self, home: Path, variables: dict[str, str], queues: str) -> None:
        self.home, self._queues = home, queues
        self._variables = {
            **variables,
            "AUGREC_HOME": str(home),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        }
        self._log = home.with_name(f"{home.name}-worker.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it takes tasks when it is ready."""
        words = ["worker", "--queues", self._queues, "--tasks", "2", "--name", self.home.name]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from augrec.cli import app; app()", *words],
                cwd=self.home,
                env=environment(self.home, self._variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and all its tasks at once, as when the host is switched off."""
        if self._process is None:
            return
        mine = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("AUGREC_HOME") == str(self.home) and (
                    process.environ().get("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT")
                    == self._variables["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"]
                ):
                    mine.append(process)
            except psutil.Error:
                continue
        for process in mine:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._process.wait()
        self._process = None

    def works_on(self, stage: str, *, worked_s: float) -> bool:
        """Whether a stage is in the midst of its work here: it has used so many seconds of CPU
        time."""
        for process in psutil.process_iter():
            try:
                if (
                    f"augrec.stages.{stage}" in process.cmdline()
                    and Path(process.cwd()).is_relative_to(self.home.resolve())
                    and process.cpu_times().user >= worked_s
                ):
                    return True
            except psutil.Error:  # gone meanwhile
                continue
        return False

    def log(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-5000:] if self._log.exists() else ""


@dataclass
class Site:
    """A platform, its services, and the workers of its hosts."""

    project: Project
    postgres: services.Service
    redis: services.Service
    s3: services.Service
    variables: dict[str, str]
    workers: dict[str, Worker] = field(default_factory=dict)

    def host(self, name: str, queues: str) -> Worker:
        """Start a worker on a new host, with a clone of its own."""
        home = self.project.home.with_name(name)
        git.git(self.project.home, "clone", "--quiet", self.origin, str(home))
        return self.worker(name, home, queues)

    def worker(self, name: str, home: Path, queues: str) -> Worker:
        """Start a worker in a home."""
        self.workers[name] = Worker(home, self.variables, queues)
        self.workers[name].start()
        return self.workers[name]

    @property
    def origin(self) -> str:
        """The git remote."""
        return str(self.project.home.with_name("origin.git"))


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A platform of the profile `celery` with a simulated shop, as `augrec up` starts it."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(services.running(make(folder / make.__name__)))
            for make in (services.postgres, services.redis, services.s3)
        ]
        postgres, redis, s3 = found
        services.create_databases(postgres, "airflow", "mlflow", "feast")
        project = stack.enter_context(shop(folder))
        profile = {
            "AUGREC_PROFILE": "celery",
            "AUGREC_POSTGRES": f"augrec@127.0.0.1:{postgres.port}",
            "AUGREC_REDIS": f"redis://127.0.0.1:{redis.port}",
            "AUGREC_S3": "s3://augrec/shop",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3.port}",
            "AWS_ACCESS_KEY_ID": services.KEY,
            "AWS_SECRET_ACCESS_KEY": services.SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            # seconds: a lost worker is noticed soon
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        project.variables |= profile
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in project.variables.items():
            patch.setenv(name, value)
        project.commit(FEW)
        made = Site(project, postgres, redis, s3, project.variables)
        subprocess.run(["git", "init", "--quiet", "--bare", made.origin], check=True)
        git.git(project.home, "remote", "add", "origin", made.origin)
        git.git(project.home, "push", "--quiet", "origin", "HEAD")
        with project.platform():
            try:
                made.worker("first", project.home, "project,cheap,training,gpu")
                made.host("second", "cheap,training,gpu")
                yield made
            finally:
                for worker in made.workers.values():
                    worker.kill()
