"""What every library's runner shares: read the split, train and measure, rank, write. Needs only
numpy and polars.

`python run_<library>.py MODEL SPLIT OUT --settings JSON --threads N --k K --seed S` writes
OUT.parquet (user_id, items) and OUT.json (seconds and memory of indexing, training and ranking).
For every library training starts when its own data object is ready; indexing is what comes before:
from positions for a peer, from the table of ids for augrec.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

_WARM_ROWS = 2000

Rank = Callable[[], np.ndarray]
"""Gives the k best unseen items of each case, positions int (n_cases, k), -1 where a place is
empty."""
Fit = Callable[[], Rank]
Model = Callable[["Task"], Fit]
"""Builds the library's data object; returns what trains."""

_ready: list[tuple[float, float]] = []


@dataclass(frozen=True)
class Task:
    """A split as tables and as positions; users and items in sorted order of their ids.

    Attributes:
        train: user_id, item_id, timestamp, in order of time.
        users, items: ids, str.
        user, item: positions of each training row, int32 (n_rows,).
        cases: the users to rank for, positions int32 (n_cases,).
        settings: of the model, in the library's own names.
        folder: the split's.
    """

    train: pl.DataFrame
    users: np.ndarray
    items: np.ndarray
    user: np.ndarray
    item: np.ndarray
    cases: np.ndarray
    settings: dict[str, Any]
    k: int
    threads: int
    seed: int
    folder: Path

    @classmethod
    def of(cls, train: pl.DataFrame, cases: pl.Series, **rest: Any) -> Task:
        users, items = train["user_id"].unique().sort(), train["item_id"].unique().sort()
        user, item = _positions(train["user_id"], users), _positions(train["item_id"], items)
        return cls(
            train, users.to_numpy(), items.to_numpy(), user, item, _positions(cases, users), **rest
        )

    def small(self) -> Task:
        """The first rows alone: to load and compile what is loaded and compiled at first use."""
        train = self.train.head(_WARM_ROWS)
        rest = {
            name: getattr(self, name) for name in ("settings", "k", "threads", "seed", "folder")
        }
        return Task.of(train, train["user_id"].unique().sort(), **rest)

    def lists(self) -> list[np.ndarray]:
        """The training items of each user to rank for, oldest first."""
        order = np.argsort(self.user, kind="stable")
        starts = np.searchsorted(self.user[order], np.arange(len(self.users) + 1))
        return [self.item[order[starts[user] : starts[user + 1]]] for user in self.cases]

    def best(self, scores_of: Callable[[np.ndarray], np.ndarray], batch: int = 256) -> np.ndarray:
        """Rank by scores_of(positions in `cases`), float (B, n_items), what was met in training
        left out."""
        seen, parts = self.lists(), []
        for start in range(0, len(self.cases), batch):
            rows = np.arange(start, min(start + batch, len(self.cases)))
            scores = np.array(scores_of(rows), dtype=np.float32)
            for row, user in enumerate(rows):
                scores[row, seen[user]] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
            parts.append(np.where(np.isneginf(np.take_along_axis(scores, best, 1)), -1, best))
        return np.concatenate(parts)


def data_ready() -> None:
    """Training starts here. `main` calls it before training; a library that indexes within training
    calls it again, and the last call counts."""
    _ready.append(_now())


def main(models: dict[str, Model]) -> None:
    """Run one model of a library as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=sorted(models))
    parser.add_argument("split", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--settings", type=json.loads, default={})
    for name, default in (("threads", 1), ("k", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    train = pl.read_parquet(given.split / "train.parquet")
    cases = pl.read_parquet(given.split / "cases.parquet", columns=["user_id"])["user_id"]
    options = {
        "settings": given.settings,
        "k": given.k,
        "threads": given.threads,
        "seed": given.seed,
    }
    task = Task.of(train, cases, folder=given.split, **options)
    build = models[given.model]
    build(task.small())()()
    began = _now()
    fit = build(task)
    before = _status("VmRSS")
    data_ready()
    rank = fit()
    wall, cpu = _now()
    facts = {"seconds": wall - _ready[-1][0], "cpu_seconds": cpu - _ready[-1][1]}
    facts |= {
        "index_seconds": _ready[-1][0] - began[0],
        "index_cpu_seconds": _ready[-1][1] - began[1],
    }
    facts |= {"peak_mib": _status("VmHWM"), "grown_mib": _status("VmHWM") - before}
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before, wall = _status("VmRSS"), time.perf_counter()
    places = rank()
    facts["rank_seconds"] = time.perf_counter() - wall
    facts["rank_grown_mib"] = _status("VmHWM") - before
    ids = np.append(task.items, "")[places]  # -1 is the last
    pl.DataFrame({"user_id": cases, "items": ids.tolist()}).write_parquet(
        given.out.with_suffix(".parquet")
    )
    given.out.with_suffix(".json").write_text(json.dumps(facts))


def _now() -> tuple[float, float]:
    """Wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def _status(name: str) -> float:
    """A figure of this process in MiB: VmRSS now, VmHWM at its peak (getrusage would count the
    parent's before exec)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def _positions(ids: pl.Series, known: pl.Series) -> np.ndarray:
    table = pl.DataFrame({"id": known, "position": np.arange(len(known), dtype=np.int32)})
    return (
        ids.alias("id")
        .to_frame()
        .join(table, on="id", how="left", maintain_order="left")["position"]
        .to_numpy()
    )
