"""What the audit finds of generators that take the fewest steps, whatever the size of the data, and
of those whose steps follow it.

    python -m benchmarks.generator_steps                                     # simulated shops
    python -m benchmarks.generator_steps --movietweetings FOLDER
    python -m benchmarks.generator_steps --generators cfgan --shops many sparse

Where both take the same steps there is one row: the samples are the same. Results of each training
are stored below var/benchmarks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.component import available
from augrec.core.data_shape import DataShape
from augrec.core.errors import RefusedError
from augrec.core.files import read_json, write_json
from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.sources import read
from augrec.data.split import split
from augrec.data.training_data import TrainingData
from augrec.generators.base import Generator, find
from benchmarks import cache, project, tables

SHOPS: dict[str, dict[str, Any]] = {
    "tiny": {"n_users": 200, "n_items": 120, "n_interactions": 4_000},
    "sparse": {"n_users": 4_000, "n_items": 3_000, "n_interactions": 30_000},
    "dense": {"n_users": 1_000, "n_items": 500, "n_interactions": 100_000},
    "long-tailed": {
        "n_users": 2_000,
        "n_items": 20_000,
        "n_interactions": 80_000,
        "popularity_exponent": 1.2,
    },
    "many": {"n_users": 20_000, "n_items": 1_000, "n_interactions": 200_000},
}
GENERATORS = [name for name in available("augrec.generators") if find(name).iterates]
MIN_ITEM_USERS = 20
"""Of MovieTweetings: items of fewer users are left out."""
_SMALL = DataShape(1, 1, 1)


def main() -> None:
    given = _arguments()
    torch.set_num_threads(1)
    where = cache.folder("generator_steps", __file__)
    lines = []
    for name, found in _data(given):
        for generator in given.generators:
            lines += [_line(one) for one in _measured(where, name, found, generator)]
            print(*lines[-1], flush=True)
    header = ["data, users, items", "generator", "steps", "beyond popularity", "95 %"]
    header += ["item coverage", "attack AUC", "audit", "CPU seconds"]
    tables.write(
        "generator-steps",
        "Generators whose steps follow the size of the data",
        [
            "The first row of a generator takes the fewest steps, the second those of `auto`. "
            "Beyond popularity: 0 is users drawn by popularity, 1 is real users drawn anew.",
            tables.markdown(header, lines),
        ],
        tables.command_line("benchmarks.generator_steps"),
        tables.own_versions(),
    )


def _data(given: argparse.Namespace) -> Iterator[tuple[str, Tables]]:
    for name in given.shops:
        yield name, simulate(ShopConfig(**SHOPS[name]), 1)
    if given.movietweetings:
        yield "MovieTweetings", read("movietweetings", given.movietweetings)


def _measured(where: Path, name: str, found: Tables, generator: str) -> Iterator[dict[str, Any]]:
    prepare = project.config(PrepareConfig, "prepare")
    rows = clean(found.interactions, prepare.positive)
    if name not in SHOPS:
        common = rows.group_by(C.ITEM).len().filter(pl.col("len") >= MIN_ITEM_USERS)
        rows = rows.join(common, on=C.ITEM, how="semi", maintain_order="left")
    parts = split(rows, prepare.split, 1)
    users = found.users.join(parts.train.select(C.USER).unique(), on=C.USER, how="semi")
    data = TrainingData(parts.train, users=users, items=found.items)
    inputs = AuditInputs(
        parts.train,
        rows,
        parts.held_out,
        parts.valid_from,
        parts.test_from,
        cases=parts.cases_valid,
    )
    fewest, auto = (find(generator)().settle(shape) for shape in (_SMALL, data.shape))
    for chosen in [fewest] if auto == fewest else [fewest, auto]:
        path = where / f"{name}-{generator}-{chosen['steps']}.json"
        if not path.exists():
            config = {**project.overrides("generators", generator), **chosen}
            write_json(path, _audited(find(generator)(config, seed=1), data, inputs))
        shape = data.shape
        size = f"{name}, {shape.n_users:,}, {shape.n_items:,}"
        yield {"data": size, "generator": generator, "steps": chosen["steps"]} | read_json(path)


def _audited(generator: Generator, data: TrainingData, inputs: AuditInputs) -> dict[str, Any]:
    """The verdict's measures in one mapping, and the seconds of training; or why it was refused."""
    began = time.process_time()
    try:
        generator.fit(data)
    except RefusedError as error:
        return {"refused": error.what, "seconds": time.process_time() - began}
    seconds = time.process_time() - began
    sample = generator.sample(data.shape.n_users, seed=1)
    config = project.config(AuditConfig, "audit")
    verdict, _ = audit_sample(sample, inputs, config, generator=generator.name(), seed=1)
    measures = verdict["fidelity"] | verdict["diversity"] | verdict["privacy"]
    return measures | {"passed": verdict["passed"], "seconds": seconds}


def _line(one: dict[str, Any]) -> list[str]:
    cells = [one["data"], one["generator"], f"{one['steps']:,}"]
    if "refused" in one:
        return [*cells, "", "", "", "", "refused", f"{one['seconds']:.0f}"]
    low, high = one["beyond_popularity_low"], one["beyond_popularity_high"]
    cells += [f"{one['beyond_popularity']:.2f}", f"{low:.2f} to {high:.2f}"]
    cells += [f"{one['item_coverage']:.2f}", f"{one['attack_auc']:.2f}"]
    return [*cells, "passed" if one["passed"] else "failed", f"{one['seconds']:.0f}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shops", nargs="*", default=list(SHOPS), choices=list(SHOPS))
    parser.add_argument("--movietweetings", type=Path, help="the folder of its files")
    parser.add_argument("--generators", nargs="+", default=GENERATORS, choices=GENERATORS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
