"""Training one library's model in a separate process, and measuring its lists with augrec's
metrics."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import hits
from augrec.evaluation.metrics import per_case
from benchmarks.environments import python_of

CUTOFFS = (5, 10, 20)
_RUNNERS = Path(__file__).parent / "runners"
_COUNTS = ("OMP", "MKL", "OPENBLAS", "RAYON", "LK", "NUMBA", "NUMEXPR")


@dataclass(frozen=True)
class Machine:
    """Where and with how many threads every library trains.

    Attributes:
        where: the folder that holds the environments.
        threads: for every library.
        deadline_s: a process that takes longer counts as failed.
    """

    where: Path
    threads: int = 1
    deadline_s: int = 1200


@dataclass(frozen=True)
class Catalogue:
    """What `per_case` needs of a recommender."""

    items: ItemIndex


def train(
    library: str,
    environment: str,
    model: str,
    settings: dict[str, Any],
    split: Path,
    machine: Machine,
    seed: int,
) -> dict[str, float] | None:
    """Train and rank; the facts of runners/_task.py, or None where the library fails, which is
    printed.

    Lists and facts are written next to the split, as <library>-<model>.parquet and .json.
    """
    out = split / f"{library}-{model}"
    runner = _RUNNERS / f"run_{library}.py"
    command = [str(python_of(environment, machine.where)), str(runner), model, str(split), str(out)]
    options = {
        "settings": json.dumps(settings),
        "threads": machine.threads,
        "k": max(CUTOFFS),
        "seed": seed,
    }
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    counts = {f"{name}_NUM_THREADS": str(machine.threads) for name in _COUNTS}
    counts["POLARS_MAX_THREADS"] = str(machine.threads)
    try:
        done = subprocess.run(
            command,
            env=os.environ | counts,
            capture_output=True,
            text=True,
            timeout=machine.deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{library} {model} took longer than {machine.deadline_s} s", flush=True)
        return None
    if done.returncode:
        print(f"{library} {model} failed: {done.stderr[-2000:]}", flush=True)
        return None
    facts = json.loads(out.with_suffix(".json").read_text())
    print(library, model, {name: round(value, 2) for name, value in facts.items()}, flush=True)
    return facts


def quality(library: str, model: str, split: Path) -> pl.DataFrame:
    """The metrics of each case, of the lists written last.

    Raises:
        ValueError: the lists are not those of the cases, or contain seen items.
    """
    cases = pl.read_parquet(split / "cases.parquet")
    lists = pl.read_parquet(split / f"{library}-{model}.parquet")
    if not lists["user_id"].equals(cases["user_id"]):
        raise ValueError(f"{library} {model} ranked other users")
    index = ItemIndex(pl.read_parquet(split / "train.parquet", columns=["item_id"])["item_id"])
    ranked = index.encode(lists["items"].explode(empty_as_null=False)).reshape(
        len(cases), max(CUTOFFS)
    )
    if hits(ranked, Histories.from_lists(cases["history"], index)).any():
        raise ValueError(f"{library} {model} recommends seen items")
    return per_case(ranked, cases, Catalogue(index), CUTOFFS)  # type: ignore[arg-type]
