"""A map: on which data do generated users help, beyond placebos and beyond smoothers without a
GAN?

    python -m benchmarks.where_it_helps [--movietweetings FOLDER] [--groceries FOLDER] [--draws 3]

Cells: simulated shops along five axes, and a few training users of real data sets. In each cell and
draw EASE, item-KNN and a blend of both learn from the real users alone, and with 1 or 4 added users
for each real one: of placebos, of a low-rank model, and of generators; and from pair counts shrunk
towards popularity. The weight of added rows, regularisation, popularity and the blend are chosen
for each arm on validation users, and so are the placebo and the smoother that a generator has to
beat. Test users have their first 5 items known; all later ones are wanted; NDCG@20. Each draw is
stored below var/benchmarks in a folder of the version of the code that decides its numbers, so that
a run can go on where it stopped, with more draws or cells.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from augrec.core.files import write_json, write_parquet
from augrec.core.seeds import derive
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from benchmarks import _map_arms, _map_tables, tables
from benchmarks._map_arms import Arm
from benchmarks._map_cells import Cell, People, cells, draw, several
from benchmarks._map_models import RECOMMENDERS, Cases, Fitted, best_fit, blend_of, case_matrices
from benchmarks.environments import WHERE

GENERATORS = ("profile_gan", "profile_vae")
CODE = (
    *(f"benchmarks/_map_{name}.py" for name in ("arms", "cells", "models")),
    *(f"src/augrec/{room}" for room in ("augmentation", "core", "data", "generators", "nn")),
)
"""What decides the numbers of a draw."""


def main() -> None:
    given = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    folders = {"movietweetings": given.movietweetings, "groceries": given.groceries}
    wanted = [cell for cell in cells(folders) if given.cells is None or cell.name in given.cells]
    out = given.out / (given.version or version())
    out.mkdir(parents=True, exist_ok=True)
    names: dict[str, dict[str, Any]] = {name: {} for name in given.generators}
    if not given.report_only:
        for cell, number in several(wanted, given.draws):
            path = out / f"{cell.name}.{number}.parquet"
            if not path.exists():
                _measure(cell, draw(cell, number, folders), names, number, path)
                print(f"{cell.name}, draw {number}", flush=True)
    _map_tables.write(out, tables.command_line("benchmarks.where_it_helps"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movietweetings", type=Path, help="where its files are")
    parser.add_argument("--groceries", type=Path, help="where the files of Complete Journey are")
    parser.add_argument("--draws", type=int, default=3, help="of each cell")
    parser.add_argument("--cells", nargs="*", help="only these")
    parser.add_argument("--generators", nargs="*", default=GENERATORS)
    parser.add_argument("--report-only", action="store_true", help="of what was measured before")
    parser.add_argument("--version", help="of stored draws, in place of that of the code")
    parser.add_argument("--out", type=Path, default=WHERE / "where_it_helps")
    return parser.parse_args()


def version() -> str:
    """Twelve digits of a hash of `CODE`."""
    home, digest = Path(__file__).parents[1], hashlib.sha256()
    for name in CODE:
        place = home / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(home).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _measure(
    cell: Cell, people: People, names: dict[str, dict[str, Any]], number: int, path: Path
) -> None:
    """Every test user's NDCG@20 for each recommender × arm, with what validation users had."""
    made = _map_arms.arms(people.train, names, derive(number, cell.name))
    cases = [case_matrices(one, made.items) for one in (people.valid, people.test)]
    found = []
    for arm in made.all:
        fits = {
            name: max((best_fit(name, way, cases) for way in arm.ways), key=lambda f: f.reached)
            for name in RECOMMENDERS
        }
        fits["blend"] = blend_of(fits["ease"], fits["item_knn"], cases)
        found += [_rows(people, arm, name, fit, cases[1]) for name, fit in fits.items()]
    about = {
        "cell": cell.name,
        "draw": number,
        "source": cell.source,
        "values": dict(cell.values),
        "shape": _shape(people.train),
        "n_validation": len(people.valid),
        "n_test": len(people.test),
        "refused": made.refused,
        "seconds": made.seconds,
    }
    write_json(path.with_suffix(".json"), about)
    write_parquet(path, pl.concat(found))


def _shape(rows: pl.DataFrame) -> dict[str, float | None]:
    numbers = asdict(TrainingData(rows).shape)
    return {name: value for name, value in numbers.items() if not name.endswith("_columns")}


def _rows(people: People, arm: Arm, name: str, fit: Fitted, test: Cases) -> pl.DataFrame:
    return pl.DataFrame(
        {
            C.USER: people.test[C.USER],
            "recommender": name,
            "arm": arm.name,
            "kind": arm.kind,
            "amount": arm.amount,
            "valid": fit.reached,
            "ndcg": test.ndcg(fit.scores[1]),
        }
    )


if __name__ == "__main__":
    main()
