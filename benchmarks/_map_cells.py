"""The data sets of the map: simulated shops along each axis, and small samples of real data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.core.seeds import derive, rng
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.simulate import ShopConfig, simulate
from augrec.data.sources import read
from benchmarks.environments import WHERE
from benchmarks.planted import POSITIVE
from benchmarks.tuning import completejourney

KNOWN = 5
N_VALIDATION, N_TEST = 250, 400
LARGEST_CATALOGUE = 1000
BASE: dict[str, Any] = {
    "users": 100,
    "items": 300,
    "rows_per_user": 15.0,
    "popularity_exponent": 0.9,
    "taste_strength": 2.0,
}
AXES: dict[str, list[Any]] = {
    "users": [30, 300, 1000, 3000],
    "items": [100, 1000],
    "rows_per_user": [8.0, 40.0],
    "popularity_exponent": [0.0, 1.5],
    "taste_strength": [0.0, 1.0, 4.0],
}
"""One is changed at a time, the others as in `BASE`."""
SAMPLES = {"movielens": [50, 100, 170, 300], "movietweetings": [100, 400], "groceries": [100, 400]}
"""Training users of each real data set."""
MIXED = 24
"""Shops with a value of every axis drawn at once."""
SPLIT = 2
"""Which users of real data are asked, the same in all cells and draws."""


@dataclass(frozen=True)
class Cell:
    """A kind of data.

    Attributes:
        name: of the cell, also of its files.
        source: "shop", or one of `SAMPLES`.
        users: training users.
        values: of the shop's axes.
    """

    name: str
    source: str
    users: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class People:
    """The users of one draw, all with canonical clean rows.

    Attributes:
        train: rows of the training users.
        valid, test: cases user_id, history (the first `KNOWN` items), targets (all later ones).
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


def cells(folders: Mapping[str, Path | None]) -> list[Cell]:
    """Real samples first: those of `folders` that are given, and MovieLens 100k."""
    found = [
        Cell(f"{source}-{n}", source, n, {})
        for source, sizes in SAMPLES.items()
        if source == "movielens" or folders.get(source) is not None
        for n in sizes
    ]
    found.append(Cell("shop", "shop", BASE["users"], BASE))
    for axis, values in AXES.items():
        for value in values:
            chosen = {**BASE, axis: value}
            found.append(Cell(f"shop-{axis}-{value:g}", "shop", chosen["users"], chosen))
    return [*found, *(_mixed(number) for number in range(MIXED))]


def _mixed(number: int) -> Cell:
    draw = rng(number, "mixed")
    values: dict[str, Any] = {
        "users": int(np.exp(draw.uniform(np.log(30), np.log(1000)))),
        "items": int(np.exp(draw.uniform(np.log(80), np.log(1000)))),
        "rows_per_user": float(np.exp(draw.uniform(np.log(6), np.log(40)))),
        "popularity_exponent": draw.uniform(0, 1.5),
        "taste_strength": draw.uniform(0, 4),
    }
    return Cell(f"mixed-{number:02d}", "shop", values["users"], values)


def draw(cell: Cell, seed: int, folders: Mapping[str, Path | None]) -> People:
    """Training users by chance; of real data the test and validation users are the same in all
    draws, and none of them is ever a training user."""
    if cell.source == "shop":
        rows = _shop(cell, derive(seed, cell.name))
        return _split(rows, cell.users, derive(seed, cell.name), derive(seed, cell.name))
    rows = READERS[cell.source](folders.get(cell.source))
    return _split(rows, cell.users, SPLIT, derive(seed, cell.name))


def _shop(cell: Cell, seed: int) -> pl.DataFrame:
    n = cell.users + 2 * (N_VALIDATION + N_TEST)  # half of them have too few items to be asked
    found = simulate(
        ShopConfig(
            n_users=n,
            n_items=cell.values["items"],
            n_interactions=round(n * cell.values["rows_per_user"] * 1.5),  # views come twice
            popularity_exponent=cell.values["popularity_exponent"],
            taste_strength=cell.values["taste_strength"],
        ),
        seed,
    )
    return clean(found.interactions, POSITIVE)


def _split(rows: pl.DataFrame, n: int, seed: int, training_seed: int) -> People:
    lengths = rows.group_by(C.USER).len().sort(C.USER)
    long = lengths.filter(pl.col("len") > KNOWN)[C.USER]
    asked = long.gather(rng(seed, "asked").permutation(len(long))[: len(long) * 3 // 5])
    cut = min(N_TEST, len(asked) * 3 // 5)
    test, valid = asked[:cut], asked[cut : cut + N_VALIDATION]
    others = lengths.filter(~pl.col(C.USER).is_in(asked.implode()))[C.USER]
    members = others.gather(rng(training_seed, "members").permutation(len(others))[:n])
    return People(_of(rows, members), _cases(_of(rows, valid)), _cases(_of(rows, test)))


def _of(rows: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    return rows.join(users.to_frame(), on=C.USER, how="semi", maintain_order="left")


def _cases(rows: pl.DataFrame) -> pl.DataFrame:
    listed = rows.group_by(C.USER).agg(
        history=pl.col(C.ITEM).head(KNOWN), targets=pl.col(C.ITEM).slice(KNOWN)
    )
    return listed.sort(C.USER)


def _movielens(folder: Path | None) -> pl.DataFrame:
    print(TERMS)
    found = movielens_100k(folder or WHERE / "movielens-100k")
    return clean(found.interactions, {"rating": 4.0})


def _movietweetings(folder: Path | None) -> pl.DataFrame:
    assert folder is not None
    return _commonest(clean(read("movietweetings", folder).interactions, {"rating": 7.0}))


def _groceries(folder: Path | None) -> pl.DataFrame:
    """The product types that the households of Complete Journey bought."""
    assert folder is not None
    return _commonest(clean(completejourney(folder).interactions, {"purchase": None}))


def _commonest(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the `LARGEST_CATALOGUE` items with the most users."""
    counts = rows.group_by(C.ITEM).len().sort("len", C.ITEM, descending=[True, False])
    return rows.join(counts.head(LARGEST_CATALOGUE), on=C.ITEM, how="semi", maintain_order="left")


READERS = {"movielens": _movielens, "movietweetings": _movietweetings, "groceries": _groceries}


def several(found: list[Cell], draws: int) -> Iterator[tuple[Cell, int]]:
    """All cells at their first draw, then all but the mixed at their second, …: so a whole map
    stands early."""
    for number in range(draws):
        for cell in found:
            if not (number and cell.name.startswith("mixed")):
                yield cell, number
