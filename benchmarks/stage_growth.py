"""Memory and time of every stage of a run as interactions grow tenfold, from a CSV file to the
decision.

    python -m benchmarks.stage_growth
    python -m benchmarks.stage_growth --sizes 1000000 --items 1000000

A simulated shop is written as a CSV of events. `augrec data import` reads it, and then the stages
of dvc.yaml run one by one, each in a process of its own. Without --items the catalogue grows with
the square root of the interactions; users always grow with them. A stage is stopped when it takes
more than --most-gib, and those after it that need its output are left out. What the same code has
measured is not measured again.

The memory is the largest anonymous part of the process's resident memory, looked at every 20 ms:
pages of files that the kernel may drop do not count. CPU seconds are the process's, all threads
together. The slope is that of log cost over log interactions since the previous size: 1 is linear.
How recommenders grow by themselves, all of them: `benchmarks.growth`."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from augrec.core.files import write_json
from augrec.data.columns import Columns as C
from augrec.data.simulate import ShopConfig, simulate
from benchmarks import cache, tables
from benchmarks.environments import HERE, WHERE

RECOMMENDERS = ("popularity", "item_knn", "ials")
STEPS: Mapping[str, Sequence[str]] = {
    "import": (),
    "configure": (),
    "validate": (),
    "prepare": (),
    "select": (),
    "features": (),
    "training_set": (),
    "augment": ("none",),
    **{f"train {name}": (name, "none") for name in RECOMMENDERS},
    **{f"evaluate {name}": (name, "none") for name in RECOMMENDERS},
    "decide": (),
}
"""What runs, in this order, with the words of the stage's command."""
SHOWN = tuple(step for step in STEPS if step != "configure")
"""`configure` reads no rows."""
_ROWS_OF_A_USER = 50
_POLL_S = 0.02
_STOPPED = "over"


def main() -> None:
    given = _arguments()
    if given.simulate:
        _simulate(given.where, given.simulate, given.items)
        return
    sizes, found = [], []
    for wanted in given.sizes:
        facts = _measure(given, wanted)
        found.append(facts)
        sizes.append(facts.pop("size", {"interactions": wanted}))
    parts = [
        tables.markdown(
            ("interactions", "users", "items", "CSV, MiB"),
            [
                [
                    *(f"{size.get(name, 0):,.0f}" for name in ("interactions", "users", "items")),
                    f"{size.get('csv_mib', 0):,.0f}",
                ]
                for size in sizes
            ],
        ),
        _table("mib", "Peak memory, MiB", found, given),
        _table("cpu_s", "CPU seconds", found, given),
    ]
    tables.write(
        given.name,
        "Growth of the stages",
        parts,
        tables.command_line("benchmarks.stage_growth"),
        tables.own_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--items", type=int, help="in the catalogue, at every size")
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most-gib", type=float, default=8.0, help="a stage may take")
    parser.add_argument("--name", default="stage_growth", help="of the table")
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the simulated shops")
    parser.add_argument("--simulate", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _shop(where: Path, wanted: int, items: int | None) -> Path:
    return where / f"shop-{wanted}-{items or 'sqrt'}"


def _simulate(where: Path, wanted: int, items: int | None) -> None:
    """Write events.csv, items.parquet, users.parquet and size.json of about `wanted` events."""
    config = ShopConfig(
        n_users=wanted // _ROWS_OF_A_USER,
        n_items=items or round(1000 * math.sqrt(wanted / 100_000)),
        n_interactions=wanted,
    )
    shop, folder = simulate(config, 20260), _shop(where, wanted, items)
    folder.mkdir(parents=True, exist_ok=True)
    names = [C.USER, C.ITEM, C.EVENT, C.VALUE, C.TIMESTAMP]
    shop.interactions.select(names).write_csv(
        folder / "events.csv", datetime_format="%Y-%m-%d %H:%M:%S"
    )
    shop.items.write_parquet(folder / "items.parquet")
    shop.users.write_parquet(folder / "users.parquet")
    size = {
        "interactions": len(shop.interactions),
        "users": shop.interactions[C.USER].n_unique(),
        "items": shop.interactions[C.ITEM].n_unique(),
        "csv_mib": (folder / "events.csv").stat().st_size / 2**20,
    }
    write_json(folder / "size.json", size)


def _measure(given: argparse.Namespace, wanted: int) -> dict[str, dict[str, float]]:
    """What each step took at one size, as far as they came, and under "size" what was read."""
    shop = _shop(given.where, wanted, given.items)
    if not (shop / "size.json").exists():
        command = [sys.executable, "-m", "benchmarks.stage_growth", "--simulate", str(wanted)]
        command += ["--where", str(given.where)]
        command += ["--items", str(given.items)] if given.items else []
        subprocess.run(command, check=True)
    here = cache.folder("stage_growth", __file__, threads=given.threads) / shop.name
    if not here.exists():
        _workspace(here)
    facts = {"size": json.loads((shop / "size.json").read_text())}
    for step in given.steps:
        known = here / "measured" / f"{step.replace(' ', '-')}.json"
        if not known.exists():
            write_json(known, _run(step, STEPS[step], shop, here, given))
        facts[step] = json.loads(known.read_text())
        if facts[step].get("failed") and not step.startswith(("train", "evaluate")):
            break
    return facts


def _workspace(here: Path) -> None:
    """A project with the settings of this one, for the recommenders that are measured."""
    root = HERE.parent
    here.mkdir(parents=True)
    shutil.copy(root / "dvc.yaml", here)
    shutil.copytree(root / "feature_repo", here / "feature_repo")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["run"] |= {
        "generators": [],
        "policies": ["none"],
        "recommenders": list(RECOMMENDERS),
        "repetitions": 1,
    }
    params["data"]["import"]["interactions"] |= {"event": C.EVENT, "value": C.VALUE}
    params["data"]["import"]["items"] |= {"categories": C.CATEGORIES, "price": C.PRICE}
    (here / "params.yaml").write_text(yaml.safe_dump(params))


def _run(
    step: str, words: Sequence[str], shop: Path, here: Path, given: argparse.Namespace
) -> dict[str, float]:
    """Peak memory and time of one step; "failed" 1 where it failed or was stopped."""
    program = [sys.executable, "-m", f"augrec.stages.{step.split()[0]}", *words]
    if step == "import":
        tool = str(Path(sys.executable).with_name("augrec"))
        program = [tool, "data", "import", "-i", str(shop / "events.csv")]
        program += ["--items", str(shop / "items.parquet"), "--users", str(shop / "users.parquet")]
    counts = {f"{library}_NUM_THREADS": str(given.threads) for library in ("OMP", "MKL")}
    counts["POLARS_MAX_THREADS"] = str(given.threads)
    log = here / "measured" / f"{step.replace(' ', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    began, peak, stopped = time.perf_counter(), 0, False
    with log.open("w") as written:
        process = subprocess.Popen(
            program, cwd=here, env=os.environ | counts, stdout=written, stderr=subprocess.STDOUT
        )
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak = max(peak, _anonymous_kib(process.pid))
            if peak > given.most_gib * 2**20 and not stopped:
                process.kill()
                stopped = True
            time.sleep(_POLL_S)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    facts = {
        "mib": peak / 2**10,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "seconds": time.perf_counter() - began,
    }
    if process.returncode:
        facts |= {"failed": 1.0, _STOPPED: float(stopped)}
        print(log.read_text()[-2000:], flush=True)
    print(step, {key: round(value, 1) for key, value in facts.items()}, flush=True)
    return facts


def _anonymous_kib(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0
    )


def _table(
    fact: str,
    title: str,
    found: Sequence[Mapping[str, Mapping[str, float]]],
    given: argparse.Namespace,
) -> str:
    rows, sizes = [], given.sizes
    for step in (step for step in SHOWN if step in given.steps):
        cells: list[str] = []
        for place, facts in enumerate(found):
            cells.append(_cell(facts.get(step), fact, given.most_gib))
            if place:
                before = found[place - 1].get(step)
                cells.append(_slope(before, facts.get(step), fact, sizes[place] / sizes[place - 1]))
        rows.append([step, *cells])
    header = [title]
    for place, wanted in enumerate(sizes):
        header += [f"{wanted:,}"] + ["slope"] * (place > 0)
    return tables.markdown(header, rows)


def _cell(facts: Mapping[str, float] | None, fact: str, most_gib: float) -> str:
    if facts is None:
        return "–"
    if facts.get(_STOPPED):
        return f"over {most_gib:.0f} GiB" if fact == "mib" else "stopped"
    if facts.get("failed"):
        return "failed"
    return f"{facts[fact]:,.0f}" if facts[fact] >= 100 else f"{facts[fact]:.1f}"


def _slope(
    before: Mapping[str, float] | None, now: Mapping[str, float] | None, fact: str, times: float
) -> str:
    if before is None or now is None or before.get("failed") or now.get("failed"):
        return "–"
    return f"{math.log(now[fact] / before[fact]) / math.log(times):.2f}"


if __name__ == "__main__":
    main()
