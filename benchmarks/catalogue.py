"""The cost of generators as the catalogue grows to a million items, and of the audit and the gate
as the number of users grows.

    python -m benchmarks.catalogue                   # everything
    python -m benchmarks.catalogue --parts generators --generators latent_gan --items 1000 1000000
    python -m benchmarks.catalogue --parts dense     # writes a separate table, as the first does

Every cell is a separate process on data prepared before; a cell that the same code has measured is
not measured again. A slope is that of log cost over log size since the previous size: 1 is linear,
above 1 grows faster than the data. Shops have a user for every five items, with 20 views each. The
dense generators hold a weight for each item and each hidden unit, and batches of users × items:
with the project's settings they are meant for catalogues of at most ten thousand items, and are
measured up to there. Up to a million items they are measured with small batches and layers, the
same at every size.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from augrec.core.component import available
from augrec.generators._training.monitor import N_SAMPLED_USERS
from benchmarks import _costs, cache, tables
from benchmarks.environments import WHERE

DENSE = ("cfgan", "profile_gan", "profile_vae")
MOST_ITEMS_OF_DENSE = 10_000
FILES = {"catalogue": ("generators", "audit", "gate"), "catalogue-dense": ("dense",)}
PARTS = [part for parts in FILES.values() for part in parts]


def main() -> None:
    given = _arguments()
    if given.cell:
        part, name, size = given.cell
        print(json.dumps(_costs.CELLS[part](given.where, name, int(size))))
        return
    written = {"generators": _generators, "audit": _audit, "gate": _gate, "dense": _dense}
    command = tables.command_line("benchmarks.catalogue")
    for file, parts in FILES.items():
        texts = [text for part in parts if part in given.parts for text in written[part](given)]
        note = (
            f"One thread. Load average {os.getloadavg()[0]:.0f} at the end: CPU seconds measure "
            "the cost; profiles per second are wall-clock rates and higher on an idle machine."
        )
        if texts:
            tables.write(file, "Cost against size", [*texts, note], command, tables.own_versions())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    generators = available("augrec.generators")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--generators", nargs="+", default=generators, choices=generators)
    parser.add_argument("--items", nargs="+", type=int, default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--interactions",
        nargs="+",
        type=int,
        default=[10_000, 100_000, 1_000_000],
        help="for the audit",
    )
    parser.add_argument(
        "--users",
        nargs="+",
        type=int,
        default=[1_000, 10_000, 100_000],
        help="test users, for the gate",
    )
    parser.add_argument(
        "--deadline", type=int, default=1800, help="seconds after which a cell is stopped"
    )
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the simulated shops")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _generators(given: argparse.Namespace) -> list[str]:
    names = [name for name in given.generators if name not in DENSE]
    elsewhere = (
        f"With the project's settings. {', '.join(DENSE)} have [a separate "
        "table](catalogue-dense.md)."
    )
    return [
        "## Generators",
        elsewhere,
        _costs_of_generators(given, "generators", names, given.items),
    ]


def _dense(given: argparse.Namespace) -> list[str]:
    names = [name for name in given.generators if name in DENSE]
    sizes = [n_items for n_items in given.items if n_items <= MOST_ITEMS_OF_DENSE]
    small = ", ".join(f"`{key}` {value}" for key, value in _costs.SMALL.items())
    return [
        "## Dense generators, small",
        f"With the project's settings but for {small}. Training includes the monitor's samples of "
        f"{N_SAMPLED_USERS} users, every 50 steps.",
        _costs_of_generators(given, "small", names, given.items),
        "## Dense generators, with the project's settings",
        "Measured up to ten thousand items, which they are meant for. Beyond, cost and memory grow "
        "as above; a training that would not fit in the machine's memory is refused at its start.",
        _costs_of_generators(given, "generators", names, sizes),
    ]


def _costs_of_generators(
    given: argparse.Namespace, part: str, names: Sequence[str], sizes: Sequence[int]
) -> str:
    rows = []
    for name in names:
        before = None
        for n_items in sizes:
            size = _costs.prepare_shop(given.where, n_items)
            found = _cell(given, part, name, n_items)
            rows.append(
                [
                    name,
                    f"{size.items:,}",
                    f"{size.interactions:,}",
                    *_costs_of(found, before, size.interactions),
                    *(_number(found, fact) for fact in ("trained_per_s", "drawn_per_s")),
                ]
            )
            before = None if found is None else {**found, "size": size.interactions}
    header = [
        "generator",
        "items",
        "interactions",
        "training, CPU s",
        "slope",
        "training, MiB",
        "slope",
        "profiles/s in training steps",
        "profiles/s drawn",
    ]
    return tables.markdown(header, rows)


def _audit(given: argparse.Namespace) -> list[str]:
    rows, before = [], None
    for wanted in given.interactions:
        size = _costs.prepare_evidence(given.where, wanted)
        found = _cell(given, "audit", "audit", wanted)
        rows.append(
            [
                f"{size.interactions:,}",
                f"{size.users:,}",
                f"{size.items:,}",
                *_costs_of(found, before, size.interactions),
            ]
        )
        before = None if found is None else {**found, "size": size.interactions}
    header = ["training interactions", "users", "items", "audit, CPU s", "slope", "MiB", "slope"]
    return ["## Audit", "Of a sample as large as the training data.", tables.markdown(header, rows)]


def _gate(given: argparse.Namespace) -> list[str]:
    rows, before = [], None
    for n_users in given.users:
        found = _cell(given, "gate", "gate", n_users)
        rows.append([f"{n_users:,}", *_costs_of(found, before, n_users)])
        before = None if found is None else {**found, "size": n_users}
    header = ["test users", "gate, CPU s", "slope", "MiB", "slope"]
    note = (
        f"Of {_costs.RECOMMENDERS} recommenders × {len(_costs.KINDS)} policies, each trained "
        f"{_costs.REPETITIONS} times."
    )
    return ["## Gate", note, tables.markdown(header, rows)]


def _cell(given: argparse.Namespace, part: str, name: str, size: int) -> dict[str, float] | None:
    """The costs that a fresh process finds or has found; None where it fails or takes too long,
    which is printed."""
    path = cache.folder("catalogue", _costs.__file__) / f"{part}-{name}-{size}.json"
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text())
        return known
    command = [
        sys.executable,
        "-m",
        "benchmarks.catalogue",
        "--where",
        str(given.where),
        "--cell",
        part,
        name,
        str(size),
    ]
    one = dict.fromkeys([f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")], "1")
    one["POLARS_MAX_THREADS"] = "1"
    try:
        done = subprocess.run(
            command,
            env=os.environ | one,
            capture_output=True,
            text=True,
            timeout=given.deadline,
            check=True,
        )
    except subprocess.TimeoutExpired:
        print(f"{name} {size:,} took longer than {given.deadline} s", flush=True)
        return None
    except subprocess.CalledProcessError as error:
        print(f"{name} {size:,} failed: {error.stderr[-2000:]}", flush=True)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    print(
        part, name, f"{size:,}", {key: round(value, 2) for key, value in found.items()}, flush=True
    )
    return found


def _costs_of(
    found: dict[str, float] | None, before: dict[str, float] | None, size: int
) -> Sequence[str]:
    """CPU seconds and memory, each with its slope since the size before."""
    cells = []
    for fact in ("cpu_s", "mib"):
        cells.append(_number(found, fact))
        if found is None or before is None or not found[fact] > 0 or not before[fact] > 0:
            cells.append("–")
            continue
        slope = math.log(found[fact] / before[fact]) / math.log(size / before["size"])
        cells.append(f"{slope:.2f}")
    return cells


def _number(found: dict[str, float] | None, fact: str) -> str:
    if found is None or fact not in found:
        return "–"
    return f"{found[fact]:,.0f}" if found[fact] >= 100 else f"{found[fact]:.1f}"


if __name__ == "__main__":
    main()
