"""Time and memory as interactions grow tenfold, on simulated shops.

    python -m benchmarks.growth

Each recommender trains in a separate process and ranks the catalogue for 10,000 users, whose lists
are then evaluated. The slope is that of log time over log interactions since the previous size: 1
is linear, above 1 grows faster than the data. Users grow with the interactions, the catalogue with
their square root. Neural recommenders take a fixed number of gradient steps: only the rest grows.
The router is left out: it trains its members."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from augrec.core.component import available
from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.slices import slice_of
from benchmarks import tables
from benchmarks.environments import WHERE
from benchmarks.measure import Machine, quality, train

N_CASES = 10_000
LEFT_OUT = ("router",)


def main() -> None:
    given = _arguments()
    machine = Machine(given.where, given.threads, given.deadline)
    found: dict[str, list[dict[str, float] | None]] = {model: [] for model in given.models}
    sizes = []
    for wanted in given.sizes:
        split = given.where / f"growth-{wanted}"
        sizes.append(_prepare(wanted, split, given.seed))
        for model, facts in found.items():
            facts.append(_measure(model, split, machine, given.seed))
    parts = [
        tables.markdown(
            ("interactions", "users", "items"), [[f"{n:,}" for n in size] for size in sizes]
        ),
        _table(
            "cpu_seconds",
            "CPU seconds of indexing and training, and the slope since the previous size",
            found,
            sizes,
        ),
        _table("seconds", "Seconds of indexing and training", found, sizes),
        _table(
            "evaluation_seconds",
            f"Seconds of ranking and measuring for {N_CASES:,} users",
            found,
            sizes,
        ),
        _table("grown_mib", "MiB that training added", found, sizes),
        _table("rank_grown_mib", "MiB that ranking added", found, sizes),
    ]
    tables.write(
        "growth", "Growth", parts, tables.command_line("benchmarks.growth"), tables.own_versions()
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = [name for name in available("augrec.recommenders") if name not in LEFT_OUT]
    parser.add_argument("--models", nargs="+", default=models, choices=models)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--deadline", type=int, default=600, help="seconds after which a recommender is stopped"
    )
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--where", type=Path, default=WHERE, help="holds the simulated splits")
    return parser.parse_args()


def _prepare(wanted: int, split: Path, seed: int) -> tuple[int, int, int]:
    """Simulate and write the split, its users' later rows being the targets; (interactions,
    users, items) of training."""
    shop = ShopConfig(
        n_users=wanted // 50,
        n_items=round(1000 * math.sqrt(wanted / 100_000)),
        n_interactions=round(wanted * 3.2),
    )
    tables = simulate(shop, seed)
    events = tables.interactions.select(C.USER, C.ITEM, C.TIMESTAMP)
    rows = events.unique([C.USER, C.ITEM], keep="first", maintain_order=True)
    size = min(wanted, int(0.95 * len(rows)))
    train_rows, later = rows.head(size), rows.tail(-size)
    lists = [
        part.group_by(C.USER).agg(pl.col(C.ITEM).alias(name))
        for part, name in ((train_rows, "history"), (later, "targets"))
    ]
    cases = lists[0].join(lists[1], on=C.USER).sort(C.USER)
    cases = cases[np.sort(rng(seed, "cases").permutation(len(cases))[:N_CASES])]
    lengths = cases["history"].list.len().to_numpy().astype(np.int64)
    split.mkdir(parents=True, exist_ok=True)
    train_rows.write_parquet(split / "train.parquet")
    cases.with_columns(slice=pl.Series(slice_of(lengths).tolist())).write_parquet(
        split / "cases.parquet"
    )
    tables.items.write_parquet(split / "items.parquet")
    tables.users.write_parquet(split / "users.parquet")
    return len(train_rows), train_rows[C.USER].n_unique(), train_rows[C.ITEM].n_unique()


def _measure(model: str, split: Path, machine: Machine, seed: int) -> dict[str, float] | None:
    """What indexing and training took together, and ranking and measuring; None where training
    failed."""
    facts = train("augrec", "augrec", model, {}, split, machine, seed)
    if facts is None:
        return None
    for clock in ("seconds", "cpu_seconds"):
        facts[clock] += facts[f"index_{clock}"]
    began = time.perf_counter()
    quality("augrec", model, split)
    return facts | {"evaluation_seconds": facts["rank_seconds"] + time.perf_counter() - began}


def _table(
    fact: str,
    title: str,
    found: dict[str, list[dict[str, float] | None]],
    sizes: Sequence[tuple[int, int, int]],
) -> str:
    rows = []
    for model, facts in found.items():
        values = [None if one is None else one[fact] for one in facts]
        rows.append([model, *_cells(values, [size[0] for size in sizes])])
    header = [title]
    for position, (n, _, _) in enumerate(sizes):
        header += [f"{n:,}"] + ["slope"] * (position > 0)
    return tables.markdown(header, rows)


def _cells(values: Sequence[float | None], sizes: Sequence[int]) -> Iterator[str]:
    for position, value in enumerate(values):
        yield "–" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"
        if position:
            before = values[position - 1]
            steps = math.log(sizes[position] / sizes[position - 1])
            known = value is not None and before is not None and value > 0 and before > 0
            yield f"{math.log(value / before) / steps:.2f}" if known else "–"  # type: ignore[operator]


if __name__ == "__main__":
    main()
