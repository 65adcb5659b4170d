"""Full-catalogue evaluation at 1 k, 10 k and 100 k users × about 50 k items, lists of 100: time and
peak memory.

    python -m benchmarks.evaluation [--users 1000 10000 100000] [--recommenders item_knn ials]

A simulated shop; models train on some users and rank for others, whose oldest 80 % of items are the
history. Each size runs in a separate process, to measure its peak memory. The table is written to
results/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch

from augrec.core.files import write_text
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.protocols._fold_in import fold_in_parts
from augrec.data.protocols._held_out import by_digest, roles
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.training_data import TrainingData
from augrec.evaluation.item_statistics import ItemStatistics, catalogue_metrics, exposure
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.evaluation.user_means import summarise
from augrec.recommenders.base import find, load

THREADS = 2
K = 100
CUTOFFS = [10, 100]
N_ITEMS, N_TRAINING_USERS, ROWS_PER_USER = 70_000, 30_000, 30  # some items have no rows
CONFIGS: dict[str, dict[str, Any]] = {"item_knn": {}, "ials": {"epochs": 2, "threads": THREADS}}
RESULT = Path(__file__).parent / "results/evaluation.md"


def main() -> None:
    """Prepare the shop and the models, measure each size, write the table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--users", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    arguments.add_argument("--recommenders", nargs="+", default=list(CONFIGS))
    arguments.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    torch.set_num_threads(THREADS)
    if given.measure:
        folder, name, n_users = given.measure
        print(json.dumps(measure(Path(folder), name, int(n_users))))
        return
    with tempfile.TemporaryDirectory() as folder:
        facts = prepare(Path(folder), max(given.users), given.recommenders)
        rows = []
        for name in given.recommenders:
            for n_users in sorted(given.users):
                rows.append({"recommender": name, **in_own_process(folder, name, n_users)})
                print(rows[-1], flush=True)
    write_text(RESULT, report(rows, facts))


def prepare(folder: Path, n_users: int, names: list[str]) -> dict[str, int]:
    """Write cases, training rows, items and fitted models to `folder`."""
    n_simulated = int(1.3 * n_users) + N_TRAINING_USERS  # some have too few rows to be evaluated
    shop = simulate(
        ShopConfig(
            n_users=n_simulated,
            n_items=N_ITEMS,
            n_interactions=ROWS_PER_USER * n_simulated,
            n_categories=40,
        ),
        seed=1,
    )
    rows = clean(shop.interactions, {"view": None, "cart": None, "purchase": None})
    judged = by_digest(rows[C.USER].unique(maintain_order=True), 1, "judged").head(
        int(1.2 * n_users)
    )
    parts = fold_in_parts(rows, roles({"test": judged}), SplitConfig())
    cases = parts.cases_test[:n_users]
    cases.write_parquet(folder / "cases.parquet")
    parts.train.write_parquet(folder / "train.parquet")
    shop.items.write_parquet(folder / "items.parquet")
    for name in names:
        find(name)(CONFIGS.get(name, {}), seed=1).fit(
            TrainingData(parts.train, items=shop.items)
        ).save(folder / name)
    return {
        "cases": len(cases),
        "items": parts.train[C.ITEM].n_unique(),
        "training interactions": len(parts.train),
        "history items": int(cases["history"].list.len().sum()),
    }


def measure(folder: Path, name: str, n_users: int) -> dict[str, float]:
    """Seconds, CPU seconds and memory of one evaluation."""
    model = load(folder / name)
    cases = pl.read_parquet(folder / "cases.parquet")[:n_users]
    train = pl.read_parquet(folder / "train.parquet", columns=[C.USER, C.ITEM])
    statistics = ItemStatistics.of(model.items, train, pl.read_parquet(folder / "items.parquet"))
    before = resident_mib()
    start, cpu = time.perf_counter(), time.process_time()
    ranked = rank_cases(model, cases, K)
    rank_s = time.perf_counter() - start
    summarise(per_case(ranked, cases, model, CUTOFFS, statistics))
    catalogue_metrics(ranked, len(model.items), CUTOFFS)
    exposure(ranked, cases["targets"], statistics, CUTOFFS)
    total_s = time.perf_counter() - start
    return {
        "users": len(cases),
        "rank_s": rank_s,
        "metrics_s": total_s - rank_s,
        "cpu_s": time.process_time() - cpu,
        "users_per_s": len(cases) / total_s,
        "loaded_mib": before,
        "peak_mib": peak_mib(),
    }


def resident_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib() -> float:
    """The most memory this process ever held; unlike getrusage it forgets the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def in_own_process(folder: str, name: str, n_users: int) -> dict[str, float]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", folder, name, str(n_users)]
    limits = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **limits}
    )
    return dict(json.loads(done.stdout))


def report(rows: list[dict[str, Any]], facts: dict[str, int]) -> str:
    """The table, in Markdown."""
    lines = [
        "# Full-catalogue evaluation",
        "",
        f"`python benchmarks/evaluation.py`; {os.cpu_count()} CPU cores, {THREADS} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}; load average "
        f"{os.getloadavg()[0]:.0f} at the end, so on a "
        f"machine of its own seconds come nearer to CPU seconds. Lists of {K}, metrics at "
        f"{' and '.join(map(str, CUTOFFS))}, "
        "those beyond accuracy among them. "
        + ", ".join(f"{n:,} {what}" for what, n in facts.items())
        + ".",
        "",
        "| recommender | users | rank, s | metrics, s | CPU, s | CPU, ms a user | users/s | peak "
        "memory, MiB "
        "| of it model and cases |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['recommender']} | {row['users']:,} | {row['rank_s']:.1f} | "
            f"{row['metrics_s']:.1f} | {row['cpu_s']:.1f} "
            f"| {1000 * row['cpu_s'] / row['users']:.2f} | {row['users_per_s']:,.0f} | "
            f"{row['peak_mib']:,.0f} "
            f"| {row['loaded_mib']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
