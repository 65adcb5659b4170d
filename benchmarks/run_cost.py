"""What a run costs: CPU and wall seconds by stage and by what they are spent on.

    python -m benchmarks.run_cost stages       # every stage by hand: imports, work, DVC
    python -m benchmarks.run_cost platform     # a run on the platform, cold and unchanged, and idle

Both work in a clone of the last commit with a simulated shop; `--raw FOLDER` takes the tables of a
data/raw in its place. On the platform every process is sampled five times a second: of a process
that ends, the last fifth of a second is lost. Linux only: memory is the proportional set size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from augrec.versioning import stages
from benchmarks._platform import augrec, clone, memory_gb, processes
from benchmarks.tables import command_line, markdown, own_versions, write

PARTS: Mapping[str, str] = {
    "augrec.stages.": "stages",
    "airflow worker": "Airflow's tasks, with DVC, Feast and MLflow in them",
    "airflow supervisor": "Airflow's tasks, with DVC, Feast and MLflow in them",
    "airflow": "Airflow's standing processes",
    "mlflow": "MLflow's server",
    "augrec serve": "recommendation service",
}
"""What a command line contains -> what its CPU is counted as; the first that fits."""
IDLE_S = 60


def main() -> None:
    """Measure one part and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["stages", "platform"])
    parser.add_argument("--raw", type=Path, help="a data/raw to use; default: a simulated shop")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="run-cost-") as folder:
        home = _project(Path(folder) / "project", given.raw)
        parts = _stages(home) if given.part == "stages" else _platform(home)
    title = {"stages": "What each stage costs", "platform": "What a run on the platform costs"}
    command = command_line("benchmarks.run_cost")
    write(f"run-cost-{given.part}", title[given.part], parts, command, own_versions())


def _stages(home: Path) -> list[str]:
    """Run every stage in a fork of its own, as Airflow does, twice: cold and unchanged."""
    cold, rows = defaultdict[str, list[tuple[float, ...]]](list), []
    stages.snapshot(home, "data/raw")
    for stage in stages.plan(home):
        member = stage.cmd.partition("augrec.stages.")[2]
        ran, again = _costs(home, stage.name), _costs(home, stage.name)
        cold[stage.group].append((_import_s(home, member), *ran, *again))
    for group, members in cold.items():
        imports, dvc, own, wall, dvc_again, _, wall_again = map(sum, zip(*members, strict=True))
        spent = (imports, max(0.0, own - imports), dvc, wall, dvc_again, wall_again)
        rows.append([group, str(len(members)), *(f"{seconds:.1f}" for seconds in spent)])
    totals = [f"{sum(float(row[place]) for row in rows):.0f}" for place in range(2, 8)]
    rows.append(["all", str(sum(int(row[1]) for row in rows)), *totals])
    header = ["stage", "members", "import", "work", "DVC", "wall", "DVC unchanged", "wall"]
    return ["CPU seconds, and wall seconds of one after the other.", markdown(header, rows)]


def _costs(home: Path, name: str) -> tuple[float, float, float]:
    """CPU seconds of DVC and of the stage, wall seconds."""
    read, written = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        stages.run_stage(home, name)
        usage = [_cpu(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        os.write(written, json.dumps(usage).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    dvc, own = json.loads(os.read(read, 1000))
    os.close(read)
    os.close(written)
    return dvc, own, time.monotonic() - began


def _import_s(home: Path, words: str) -> float:
    """CPU seconds of a process that imports a stage's module and that of its component."""
    stage, *names = words.split()
    room = {"train": "recommenders", "evaluate": "recommenders"}.get(stage, "generators")
    code = f"import augrec.stages.{stage}"
    if names and stage != "augment":
        code += f"; from augrec.{room}.base import find; find({names[0]!r})"
    before = _cpu(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=home, check=True)
    return _cpu(resource.RUSAGE_CHILDREN) - before


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _platform(home: Path) -> list[str]:
    """Start the platform, run twice, leave it alone."""
    rows = []
    try:
        with _measured(home) as start:
            augrec(home, "up")
        rows.append(_row("start", start))
        for name in ("cold", "unchanged"):
            with _measured(home) as run:
                augrec(home, "run")
            rows.append(_row(name, run))
        with _measured(home) as idle:
            time.sleep(IDLE_S)
        rows.append(_row(f"idle for {IDLE_S} s", idle))
        memory = memory_gb(home)
    finally:
        augrec(home, "down")
    names = ["wall", "all", *dict.fromkeys(PARTS.values()), "other"]
    return [
        "CPU seconds, after the wall seconds.",
        markdown(
            ["", *names], [[label, *(row.get(n, "0.0") for n in names)] for label, row in rows]
        ),
        f"Memory of the idle platform: {memory:.2f} GB (PSS).",
    ]


def _row(label: str, spent: Mapping[str, float]) -> tuple[str, dict[str, str]]:
    total = sum(seconds for name, seconds in spent.items() if name != "wall")
    return label, {name: f"{seconds:.1f}" for name, seconds in {**spent, "all": total}.items()}


@contextmanager
def _measured(home: Path) -> Iterator[dict[str, float]]:
    """CPU seconds by part of all processes of a project while the block runs, and its wall
    seconds."""
    found: dict[str, float] = {}
    first: dict[tuple[int, float], float] = {}
    last: dict[tuple[int, float], tuple[str, float]] = {}
    ended = threading.Event()

    def look(seen: dict[tuple[int, float], float] | None = None) -> None:
        for process in processes(home):
            try:
                times, key = process.cpu_times(), (process.pid, process.create_time())
                used = times.user + times.system
                if seen is not None:
                    seen[key] = used
                last[key] = (_part(" ".join(process.cmdline())), used)
            except psutil.Error:
                continue

    def watch() -> None:
        while not ended.wait(0.2):
            look()

    look(first)
    began, watcher = time.monotonic(), threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
        look()
        for key, (part, used) in last.items():
            found[part] = found.get(part, 0.0) + used - first.get(key, 0.0)
        found["wall"] = time.monotonic() - began


def _part(command: str) -> str:
    return next((part for text, part in PARTS.items() if text in command), "other")


def _project(home: Path, raw: Path | None) -> Path:
    """A clone of the last commit, with data."""
    clone(home)
    if raw is None:
        augrec(home, "data", "simulate")
    else:
        shutil.copytree(raw, home / "data/raw")
    return home


if __name__ == "__main__":
    main()
