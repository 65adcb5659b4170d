"""A project of its own with a real platform: the checkout under test, copied and committed
elsewhere, and a small shop."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
import yaml

from augrec.core import settings as settings_
from augrec.core.settings import Settings
from augrec.orchestration.client import DONE, Airflow, TaskState
from augrec.orchestration.platform import logs
from augrec.versioning import git, workspace

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
RUN_TIMEOUT_S = 900.0
"""What takes longer hangs; a machine may be busy with other work."""
SHOP = ("--users", "400", "--items", "80", "--interactions", "8000")
SMALL: dict[str, Any] = {
    "run.generators": ["profile_gan"],
    "run.policies": ["none", "popularity_random", "profile_gan"],
    "run.recommenders": ["popularity", "multvae"],
    "features.every_days": 60,
    "features.windows_days": [30],
    "features.max_categories": 3,
    "generators.profile_gan.steps": 20,
    "generators.profile_gan.hidden": 32,
    "audit.bootstrap_samples": 50,
    "recommenders.multvae.steps": 20,
    "recommenders.multvae.hidden": 32,
    "recommenders.multvae.eval_every": 10,
    "gate.bootstrap_samples": 200,
    "gate.min_users": 5,
    # nearly every new model may become champion: these tests are about the way there
    "gate.non_inferiority_margin": 0.99,
}
"""The pipeline as it is, only quicker."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Run:
    """A run as it was at a moment.

    Attributes:
        id: Airflow's run id.
        state: its state.
        tasks: every task instance.
        path: its workspace.
        why: what failed tasks say, and which tasks are not done.
        hashes: of everything its stages read and made.
    """

    id: str
    state: str
    tasks: list[TaskState]
    path: Path
    why: str
    hashes: dict[str, str]

    def states(self, task: str) -> set[str]:
        """The states of a task's members."""
        return {found.state for found in self.tasks if found.task == task}


class Project:
    """A git repository with the code under test, and its platform.

    Args:
        home: where to make it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        copy_checkout(home)
        workspace.override_params(home / "params.yaml", SMALL)
        git.git(home, "init", "--quiet")
        git.git(home, "config", "user.name", "tester")
        git.git(home, "config", "user.email", "tester@localhost")
        git.git(home, "config", "gc.auto", "0")
        git.git(home, "add", "--all")
        git.git(home, "commit", "--quiet", "--message", "The checkout under test, made quick")
        self.variables = {
            "AUGREC_HOME": str(home),
            "AUGREC_AIRFLOW_PORT": str(free_port()),
            "AUGREC_MLFLOW_PORT": str(free_port()),
            "AUGREC_SERVING_PORT": str(free_port()),
            # seconds: a killed task is tried again soon
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        }

    @contextmanager
    def platform(self) -> Iterator[None]:
        """The platform, up for as long as this lasts, or until this process is gone, even if it was
        killed."""
        stopping = (
            "import sys; sys.stdin.read(); from augrec.cli import app; sys.argv[1:] = "
            "['down']; app()"
        )
        with (self.home.parent / "down.log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-c", stopping],
                cwd=self.home,
                env=environment(self.home, self.variables),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.augrec("up")
            yield
        finally:
            if "airflow" in self.__dict__:
                self.airflow.close()
            keeper.communicate()  # nothing more will come: the platform is stopped
        left = self.processes()
        assert left == [], f"`augrec down` left processes behind: {left}"

    @property
    def settings(self) -> Settings:
        """Where the project is; the environment must name it, see `variables`."""
        found = settings_.load()
        assert found.home == self.home.resolve()
        return found

    @cached_property
    def airflow(self) -> Airflow:
        """The client of the running platform."""
        return Airflow(self.settings)

    def page(self, url: str) -> httpx.Response:
        """A page of Airflow, or of the reports next to it, as somebody who is logged in sees it."""
        return self.airflow._http.get(url)

    def augrec(self, *words: str, check: bool = True) -> str:
        """Run the `augrec` command in the project; returns what it says."""
        done = subprocess.run(
            [sys.executable, "-c", "from augrec.cli import app; app()", *words],
            cwd=self.home,
            env=environment(self.home, self.variables),
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, (
            f"augrec {' '.join(words)}:\n{done.stdout}{done.stderr}{self.log()}"
        )
        return done.stdout + done.stderr

    def log(self) -> str:
        """The ends of the platform's logs, for messages."""
        said = []
        for path in sorted(logs(self.settings).glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            kept = [line for line in lines if "http.access" not in line][-10:]
            said.append("\n".join([f"== {path.name}", *kept]))
        return "\n".join(said)

    def commit(self, params: Mapping[str, Any]) -> None:
        """Change keys of params.yaml and commit them."""
        workspace.override_params(self.home / "params.yaml", params)
        git.git(self.home, "commit", "--quiet", "--all", "--message", "Other parameters")

    def start(self, run_id: str, **conf: Any) -> str:
        """Trigger `retrain` with values for its form."""
        return self.airflow.trigger("retrain", conf, run_id=run_id)

    def run(self, run_id: str, **conf: Any) -> Run:
        """Trigger `retrain` and wait for its end."""
        return self.ended(self.start(run_id, **conf))

    def ended(self, run_id: str) -> Run:
        """Wait until a run has ended."""
        self.wait(
            lambda: self.airflow.run_state("retrain", run_id) in DONE,
            f"the end of {run_id}",
            run_id,
        )
        return self.look(run_id)

    def reached(self, run_id: str, task: str, *states: str) -> None:
        """Wait until a task that is not mapped is in one of some states."""

        def there() -> bool:
            found = {
                one.state for one in self.airflow.task_states("retrain", run_id) if one.task == task
            }
            assert not (found & {"failed", "upstream_failed"} - set(states)), self._why(run_id)
            return bool(found & set(states))

        self.wait(there, f"{task} of {run_id} to be {' or '.join(states)}", run_id)

    def answer(self, run_id: str, option: str, reason: str = "") -> None:
        """Answer the task `approve`."""
        self.airflow.respond("retrain", run_id, "approve", option, reason=reason)

    def look(self, run_id: str) -> Run:
        """A run as it is now."""
        state, tasks = (
            self.airflow.run_state("retrain", run_id),
            self.airflow.task_states("retrain", run_id),
        )
        path = workspace.path_of(self.settings, run_id)
        return Run(run_id, state, tasks, path, self._why(run_id), hashes(path))

    def wait(
        self, ready: Callable[[], Found], what: str, run_id: str, every_s: float = 0.3
    ) -> Found:
        """Ask again and again until there is an answer."""
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while not (answer := ready()):
            assert time.monotonic() < deadline, (
                f"waited too long for {what}\n{self._why(run_id)}\n{self.log()}"
            )
            time.sleep(every_s)
        return answer

    def stage_process(self, run_id: str, stage: str, *, worked_s: float) -> psutil.Process:
        """Wait for the process of a stage of a run, in the midst of its work: it has used so many
        seconds of CPU time."""
        path = workspace.path_of(self.settings, run_id).resolve()

        def found() -> psutil.Process | None:
            for process in psutil.process_iter():
                try:
                    words = process.cmdline()
                    if f"augrec.stages.{stage}" not in words or Path(process.cwd()) != path:
                        continue
                    if process.cpu_times().user >= worked_s:
                        return process
                except psutil.Error:  # gone meanwhile
                    continue
            return None

        return self.wait(found, f"{stage} of {run_id} to work", run_id, every_s=0.05)

    def processes(self) -> list[str]:
        """Command lines of all processes that work for this project."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("AUGREC_HOME") == str(self.home)
                    and process.pid != os.getpid()
                ):
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:150]}")
            except psutil.Error:
                continue
        return found

    def _why(self, run_id: str) -> str:
        """What the failed tasks of a run say, and which tasks are not done."""
        lines = []
        for task in self.airflow.task_states("retrain", run_id):
            name = f"{task.task} {task.member}".strip()
            if task.state == "failed":
                lines.append(f"{name} failed: {self.airflow.why_failed('retrain', run_id, task)}")
            elif task.state not in {"success", "skipped", "upstream_failed"}:
                lines.append(f"{name}: {task.state}, try {task.try_number}")
        return "\n".join(lines)


class Repro:
    """`dvc repro` without Airflow, in a clone with a cache of its own.

    Args:
        project: whose commits.
        home: where the clone goes.
        raw: the raw data.
    """

    def __init__(self, project: Project, home: Path, raw: Path) -> None:
        self.home, self.raw = home, raw
        self._log = home.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        git.git(project.home, "clone", "--quiet", str(project.home), str(home))

    def begin(self, commit: str) -> None:
        """Start it at a commit's parameters, when it has ended the work before; only raw data and
        cache are there."""
        self._wait()
        for folder in ("data", "models", "reports"):
            shutil.rmtree(self.home / folder, ignore_errors=True)
        (self.home / "dvc.lock").unlink(missing_ok=True)
        shutil.copytree(self.raw, self.home / "data" / "raw")
        git.git(self.home, "fetch", "--quiet", "origin", commit)
        git.git(self.home, "checkout", "--quiet", "FETCH_HEAD", "--", "params.yaml")
        choose = [sys.executable, "-c", "from augrec.cli import app; app()", "choose", "--write"]
        subprocess.run(choose, cwd=self.home, env=environment(self.home, {}), check=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro"],
                cwd=self.home,
                env=environment(self.home, {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self) -> dict[str, str]:
        """Wait for it; content hashes of all that was read and made."""
        self._wait()
        return hashes(self.home)

    def stop(self) -> None:
        """End it where it still runs."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _wait(self) -> None:
        if self._process is not None:
            assert self._process.wait(RUN_TIMEOUT_S) == 0, self._log.read_text()[-3000:]


def hashes(home: Path) -> dict[str, str]:
    """What every stage read and made, as its dvc.lock records it: "stage, deps or outs, path" and
    content hash."""
    path = home / "dvc.lock"
    lock = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}
    return {
        f"{name} {kind} {one['path']}": one["md5"]
        for name, stage in lock["stages"].items()
        for kind in ("deps", "outs")
        for one in stage[kind]
    }


def copy_checkout(target: Path) -> None:
    """Copy what git tracks or would track: the same from a clean clone and from a tree somebody
    works in."""
    listing = git.git(CHECKOUT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listing.split("\0")):
        if (CHECKOUT / name).is_file() and name not in git.RECORDS:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)


@contextmanager
def shop(folder: Path) -> Iterator[Project]:
    """A project below a folder, with the data of a simulated shop; as long as it is used, the
    environment of this process names it."""
    made = Project(folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.variables.items():
            patch.setenv(name, value)
        for name in ("AUGREC_VAR", "AUGREC_HOST", "MLFLOW_TRACKING_URI", "AUGREC_ONLINE_STORE"):
            patch.delenv(name, raising=False)
        made.augrec("data", "simulate", *SHOP)
        yield made


def environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what other tests or the developer's own platform left in
    it."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUGREC_", "AIRFLOW_", "_AIRFLOW_", "MLFLOW_"))
    }
    places = {
        "PYTHONPATH": str(home / "src"),
        "PATH": f"{PROGRAMS}{os.pathsep}{inherited.get('PATH', '')}",
    }
    return {**inherited, **places, **variables}


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
