"""Daily runs of a shop that grows, while parts, tasks and stages of the platform are killed.

    python -m benchmarks.soak                  # twenty runs
    python -m benchmarks.soak --runs 3 --seed 7
    python -m benchmarks.soak --folder FOLDER --minutes 15    # again and again, until it is done

Every run has one more day of a simulated shop. At two random moments of it one of the platform's
processes is killed: a part, a task or a stage. About every seventh day has spoilt data, which the
run must refuse. The table says what became of each run, and what of that which must hold at the end
does not; the exit status is 1 if anything does not. In a folder that is kept it goes on where it
was stopped; the platform is down meanwhile. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import numpy as np
import polars as pl
import psutil

from augrec.core import settings as settings_
from augrec.core.errors import TransientError
from augrec.core.files import read_json, write_json
from augrec.core.seeds import rng
from augrec.data.canonical import Tables, write_raw
from augrec.data.columns import Columns as C
from augrec.data.simulate import ShopConfig, simulate
from augrec.orchestration import supervisor
from augrec.orchestration.client import DONE, Airflow
from augrec.registry import promotion
from augrec.versioning import git, publish, workspace
from benchmarks import _platform
from benchmarks.tables import command_line, markdown, own_versions, write

SHOP: Final = ShopConfig(n_users=400, n_items=80, n_interactions=8_000)
SMALL: Final = {
    "run.generators": ["profile_gan"],
    "run.policies": ["none", "popularity_random", "profile_gan"],
    "run.recommenders": ["popularity", "ease", "multvae"],
    "generators.profile_gan.steps": 50,
    "recommenders.multvae.steps": 50,
}
"""The pipeline as it is, only quicker."""
KILLS: Final = 2
"""In each run; a task has three tries."""
LATEST_KILL_S: Final = 60.0
SPOILT_SHARE: Final = 1 / 7
TIMEOUT_S: Final = 1200.0
GROWTH: Final = 1.25
"""Memory after the last run, at most, over that after the second."""
DRAFT: Final = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `augrec.core.files` calls a file or folder that is not whole."""
Found = TypeVar("Found")


@dataclass
class Day:
    """One run: its end, what was killed during it, and what the platform held afterwards."""

    state: str
    reason: str
    spoilt: bool
    wall_s: float
    memory_gb: float
    disk_mb: float
    killed: list[str] = field(default_factory=list)

    @property
    def explained(self) -> bool:
        """Whether it ended as its data deserves."""
        refused = self.state == "failed" and "max_quarantined_share" in self.reason
        return refused if self.spoilt else self.state == "success"


def main() -> None:
    """Run, kill, look, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept, to go on there later")
    parser.add_argument("--minutes", type=float, default=inf, help="begin no run after so many")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(TemporaryDirectory(prefix="soak-")))
        days, broken = _days(folder.resolve(), given.runs, given.seed, given.minutes)
    rows = [
        [
            str(number),
            "refused" if day.spoilt and day.explained else day.state,
            ", ".join(day.killed),
            *(f"{value:.{places}f}" for value, places in _numbers(day)),
        ]
        for number, day in enumerate(days, start=1)
    ]
    header = ["run", "ended with", "killed", "wall s", "memory GB", "disk MB"]
    parts = [
        "A day's data is spoilt now and then, and such a run must be refused. Memory (PSS) and "
        "disk are those of the whole platform after the run.",
        markdown(header, rows),
        "\n".join(f"* Does not hold: {one}" for one in broken)
        or "All runs succeeded or were refused with their reason; there is one champion, and the "
        "promotion log leads to it run by run; no process, draft or uncommitted file is left; "
        "memory and disk are bounded.",
    ]
    if len(days) < given.runs:
        parts.append(f"{len(days)} of {given.runs} runs so far.")
    write(
        "soak", "Daily runs while parts die", parts, command_line("benchmarks.soak"), own_versions()
    )
    sys.exit(bool(broken))


def _days(folder: Path, runs: int, seed: int, minutes: float) -> tuple[list[Day], list[str]]:
    """The runs so far, and what does not hold of them."""
    home, kept = folder / "project", folder / "days.json"
    os.environ.update(_platform.variables(home))
    if not home.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _project(home)
    days = [Day(**day) for day in read_json(kept)] if kept.exists() else []
    shop, began = simulate(SHOP, seed), time.monotonic()
    try:
        _platform.augrec(home, "up")
        while len(days) < runs and time.monotonic() - began < 60 * minutes:
            number = len(days) + 1
            days.append(_day(home, shop, number, runs, rng(seed, "soak", number)))
            write_json(kept, [asdict(day) for day in days])
            print(number, days[-1], flush=True)
        broken = _history(days)
    finally:
        _platform.augrec(home, "down")
    return days, broken + _left_behind(home)


def _numbers(day: Day) -> list[tuple[float, int]]:
    return [(day.wall_s, 0), (day.memory_gb, 2), (day.disk_mb, 0)]


def _project(home: Path) -> None:
    _platform.clone(home)
    workspace.override_params(home / "params.yaml", SMALL)
    git.git(home, "config", "user.name", "soak")
    git.git(home, "config", "user.email", "soak@localhost")
    git.git(home, "commit", "--quiet", "--all", "--message", "Made quick")


def _day(home: Path, shop: Tables, number: int, runs: int, draws: np.random.Generator) -> Day:
    """One more day of data, and a run on it during which processes are killed."""
    spoilt = bool(draws.random() < SPOILT_SHARE)
    _write(home, shop, days_left=runs - number, spoilt=spoilt)
    began, killed = time.monotonic(), list[str]()
    run_id = _patiently(lambda: _start(f"day-{number}"))
    moments = sorted(draws.uniform(0, LATEST_KILL_S, KILLS))
    killer = threading.Thread(target=_kill, args=(home, began, moments, draws.spawn(1)[0], killed))
    killer.start()
    state = _patiently(lambda: _ended(run_id))
    wall_s = time.monotonic() - began
    killer.join()
    reason = _patiently(lambda: _reason(run_id)) if state == "failed" else ""
    _platform.augrec(home, "up")  # waits until every part that was killed is back
    disk = sum(path.lstat().st_size for path in home.rglob("*") if path.is_file())
    return Day(state, reason, spoilt, wall_s, _platform.memory_gb(home), disk / 2**20, killed)


def _write(home: Path, shop: Tables, *, days_left: int, spoilt: bool) -> None:
    """Write data/raw without the last days; spoilt: every tenth row lacks its item."""
    until = shop.interactions[C.TIMESTAMP].max() - timedelta(days=days_left)  # type: ignore[operator]
    rows = shop.interactions.filter(pl.col(C.TIMESTAMP) <= until)
    write_raw(
        home / "data/raw", rows, shop.items, shop.users, {"source": "soak", "until": str(until)}
    )
    if spoilt:
        path = home / "data/raw/interactions.parquet"
        lacking = pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(C.ITEM)
        rows.with_columns(lacking.alias(C.ITEM)).write_parquet(path)


def _kill(
    home: Path, began: float, moments: list[float], draws: np.random.Generator, killed: list[str]
) -> None:
    """Kill one process at each moment, in seconds since the run began."""
    for moment in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        found = _victims(home)
        kinds = sorted({kind for kind, _ in found})
        kind = kinds[int(draws.integers(len(kinds)))]
        chosen = [process for other, process in found if other == kind]
        with suppress(psutil.Error):
            chosen[int(draws.integers(len(chosen)))].kill()
            killed.append(kind)


def _victims(home: Path) -> list[tuple[str, psutil.Process]]:
    """What may be killed: each part, the processes of tasks, and those of stages."""
    here = settings_.load()
    parts = {
        found.pid: part
        for part, found in supervisor.processes(here).items()
        if found.pid is not None
    }
    victims = []
    for process in _platform.processes(home):
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if process.pid in parts:
                victims.append((parts[process.pid], process))
            elif "augrec.stages." in words:
                victims.append(("a stage", process))
            elif words.startswith("airflow worker -- ") and "LocalExecutor" not in words:
                victims.append(("a task", process))
    return victims


def _start(run_id: str) -> str:
    """Trigger `retrain`, once: the answer to an earlier call may have been lost."""
    airflow = Airflow(settings_.load())
    if run_id not in [run["dag_run_id"] for run in airflow.latest_runs("retrain")]:
        airflow.trigger("retrain", {}, run_id=run_id)
    return run_id


def _ended(run_id: str) -> str | None:
    state = Airflow(settings_.load()).run_state("retrain", run_id)
    return state if state in DONE else None


def _reason(run_id: str) -> str:
    airflow = Airflow(settings_.load())
    states = airflow.task_states("retrain", run_id)
    failed = [one for one in states if one.state == "failed"]
    return "\n".join(airflow.why_failed("retrain", run_id, one) for one in failed)


def _patiently(ask: Callable[[], Found | None]) -> Found:
    """Ask until there is an answer: the API server may be what was killed."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(TransientError):
            if (found := ask()) is not None:
                return found
        time.sleep(1)
    raise TimeoutError(f"no answer within {TIMEOUT_S:.0f} s")


def _history(days: Sequence[Day]) -> list[str]:
    """What does not hold of runs, champions, memory and disk; the platform runs."""
    broken = [
        f"run {number} ended with {day.state}: {day.reason}"
        for number, day in enumerate(days, start=1)
        if not day.explained
    ]
    published = {f"day-{number}" for number, day in enumerate(days, start=1) if not day.spoilt}
    tagged = {name.removeprefix(publish.TAG_PREFIX) for name in publish.tags(settings_.load())}
    if tagged != published:
        broken.append(f"tagged runs: {sorted(tagged)}, published: {sorted(published)}")
    champion: str | None = None
    for number, move in enumerate(promotion.log(), start=1):
        if move.number != number or move.replaced != champion:
            broken.append(f"entry {number} of the promotion log does not follow: {move}")
        champion = move.version
    standing, lost = promotion.standing()
    if lost is not None or (standing.version if standing else None) != champion:
        broken.append(f"the champion is {standing}, the promotion log ends with {champion}")
    early, late = days[min(1, len(days) - 1)].memory_gb, days[-1].memory_gb
    if late > GROWTH * early:
        broken.append(f"memory grew from {early:.2f} to {late:.2f} GB")
    steps = np.diff([day.disk_mb for day in days])
    if len(steps) > 1 and steps[1:].max() > 2 * np.median(steps):
        broken.append(f"a run added {steps[1:].max():.0f} MB to the disk")
    return broken


def _left_behind(home: Path) -> list[str]:
    """Processes, uncommitted files and drafts that are there once the platform is down."""
    broken = [f"left running: {process.cmdline()}" for process in _platform.processes(home)]
    if uncommitted := git.git(home, "status", "--porcelain"):
        broken.append(f"uncommitted: {uncommitted}")
    drafts = [path for path in home.rglob(".*") if DRAFT.fullmatch(path.name)]
    return broken + [f"left in the files: {path.relative_to(home)}" for path in drafts]


if __name__ == "__main__":
    main()
