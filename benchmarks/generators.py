"""Every generator × MultVAE, EASE and item-KNN, compared with no synthetic data and all placebos,
over several seeds.

    python -m benchmarks.generators movielens_100k    # downloaded by pip (see its terms)
    python -m benchmarks.generators movietweetings FOLDER --min-item-users 20

A seed draws the held-out users of the time split and seeds everything else. Every arm takes the
same number of steps; its mixing weight and the recommender's regularisation are chosen on
validation users. Results are of test users: cold ones with 5 history items, warm ones with more
than 20, and all. A generator is compared with the best arm without generated data on test users,
which is stricter than the gate. Results of each seed are stored below var/benchmarks, so that a run
with the same code and settings can continue.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import torch

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.component import available
from augrec.core.errors import RefusedError
from augrec.core.files import write_parquet
from augrec.data.canonical import Tables
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.config import PrepareConfig
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.sources import read
from augrec.data.split import Split, split
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import Difference, paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import OVERALL
from augrec.generators import base as generators
from augrec.recommenders import base as recommenders
from benchmarks import cache, project, tables
from benchmarks.environments import WHERE

METRIC, K = "ndcg@10", 10
SLICES = {"1-5": "cold", "21+": "warm", OVERALL: "all"}
WEIGHTS = (0.3, 1.0)
REGULARISATION: dict[str, dict[str, list[float]]] = {
    "multvae": {"beta": [0.2, 0.5]},
    "ease": {"l2": [100.0, 300.0, 1000.0]},
    "item_knn": {"shrinkage": [20.0, 100.0, 300.0]},
}
PLACEBOS = ("bootstrap", "popularity_random", "crossover", "noise")
TRUNCATE = {"truncate": {"ratio": 1.0}}
FEWEST = 5


def main() -> None:
    given = _arguments()
    arguments = {
        key: vars(given)[key] for key in ("folder", "min_item_users", "generators", "recommenders")
    }
    where = cache.folder(f"generators/{given.layout}", __file__, **arguments)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        measured = list(pool.map(partial(one_seed, given, where), seeds))
    found = pl.concat(measured)
    parts = [_data(given, found)]
    for recommender in given.recommenders:
        rows = found.filter(pl.col("recommender") == recommender)
        parts += [f"## {recommender}", _table(rows, given.first_seed)]
    name = f"generators-{given.layout.replace('_', '-')}"
    title = f"Generators and placebos, {given.layout}"
    tables.write(
        name, title, parts, tables.command_line("benchmarks.generators"), tables.own_versions()
    )


def one_seed(given: argparse.Namespace, where: Path, seed: int) -> pl.DataFrame:
    """NDCG@10 of every test user for each recommender × arm; read where it was measured before."""
    path = where / f"{seed}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    torch.set_num_threads(1)
    tables_ = _read(given)
    prepare = project.config(PrepareConfig, "prepare")
    rows = clean(tables_.interactions, prepare.positive)
    if given.min_item_users > 1:  # out of the items table too: generators must not add their users
        common = rows.group_by(C.ITEM).len().filter(pl.col("len") >= given.min_item_users)
        rows, items = (
            one.join(common, on=C.ITEM, how="semi", maintain_order="left")
            for one in (rows, tables_.items)
        )
        tables_ = tables_._replace(items=items)
    parts = split(rows, prepare.split, seed)
    samples = dict(_samples(given.generators, parts, tables_, seed))
    arms = dict(_arms(list(samples)))
    found = []
    for recommender in given.recommenders:
        for name, kinds in arms.items():
            best = _best(recommender, name, kinds, parts, samples, seed)
            found.append(
                best.with_columns(
                    recommender=pl.lit(recommender),
                    arm=pl.lit(name),
                    seed=pl.lit(seed),
                    n_train=pl.lit(parts.train[C.USER].n_unique()),
                )
            )
            print(f"seed {seed}: {recommender} × {name}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = pl.concat(found)
    write_parquet(path, measured)
    return measured


def _read(given: argparse.Namespace) -> Tables:
    if given.layout == "movielens_100k":
        print(TERMS)
        return movielens_100k(given.folder or WHERE / "movielens-100k")
    return read(given.layout, given.folder)


def _samples(
    names: list[str], parts: Split, found: Tables, seed: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """As many synthetic users as there are real ones, of each generator that could be trained."""
    users = found.users.join(parts.train.select(C.USER).unique(), on=C.USER, how="semi")
    for name in names:
        generator = generators.find(name)(project.overrides("generators", name), seed=seed)
        try:
            generator.fit(TrainingData(parts.train, users=users, items=found.items))
        except RefusedError as error:
            print(f"seed {seed}: {name} was refused: {error}", flush=True)
            continue
        yield name, generator.sample(parts.train[C.USER].n_unique(), seed=seed)
        print(f"seed {seed}: {name} is trained", flush=True)


def _arms(names: list[str]) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """Name and the ways to build each arm's training set: one for each weight of what is mixed
    in."""
    yield "none", [[]]
    yield "truncation", [[TRUNCATE]]
    befores: tuple[list[dict[str, Any]], ...] = [], [TRUNCATE]
    for name, before in product([*PLACEBOS, *names], befores):
        ways = [
            [*before, {"mix": {"sample": name, "ratio": 1.0, "weight": weight}}]
            for weight in WEIGHTS
        ]
        yield ("truncation + " if before else "") + name, ways


def _best(
    recommender: str,
    arm: str,
    ways: list[list[dict[str, Any]]],
    parts: Split,
    samples: dict[str, pl.DataFrame],
    seed: int,
) -> pl.DataFrame:
    """Test users' metric of the weight and regularisation that are best on validation users."""
    [(key, values)] = REGULARISATION[recommender].items()
    best: tuple[float, Any] = (-1.0, None)
    for steps, value in product(ways, values):
        ingredients = PolicyInputs(parts.train, samples.__getitem__, 2.0)
        training = Policy(arm, steps, seed=seed).apply(ingredients)
        config = project.overrides("recommenders", recommender) | {key: value}
        model = recommenders.find(recommender)(config, seed=seed).fit(
            TrainingData(training, cases=parts.cases_valid)
        )
        reached = float(evaluate(model, parts.cases_valid, [K])[METRIC].mean())  # type: ignore[arg-type]
        if reached > best[0]:
            best = reached, model
    return evaluate(best[1], parts.cases_test, [K]).select(C.USER, "slice", METRIC)


def _table(rows: pl.DataFrame, seed: int) -> str:
    names = rows["arm"].unique(maintain_order=True).to_list()
    arms = {name: rows.filter(pl.col("arm") == name) for name in names}
    plain = [name for name in names if _is_plain(name)]
    hardest = {one: max(plain, key=lambda name: _mean(arms[name], one)) for one in SLICES}
    header = ["arm", *SLICES.values()]
    header += [f"{word}: over none" for word in SLICES.values()]
    header += [f"{word}: over {hardest[one]}" for one, word in SLICES.items()]
    lines = []
    for name in names:
        cells = [name, *(f"{_mean(arms[name], one):.4f}" for one in SLICES)]
        cells += [
            "" if name == "none" else _gain(arms[name], arms["none"], one, seed) for one in SLICES
        ]
        cells += [
            "" if name in plain else _gain(arms[name], arms[hardest[one]], one, seed)
            for one in SLICES
        ]
        lines.append(cells)
    return tables.markdown(header, lines)


def _is_plain(name: str) -> bool:
    return name.removeprefix("truncation + ") in ("none", "truncation", *PLACEBOS)


def _compare(ours: pl.DataFrame, theirs: pl.DataFrame, one: str, seed: int) -> Difference:
    return paired_difference(
        ours, theirs, METRIC, slice_name=one, confidence=0.95, samples=2000, seed=seed
    )  # a user's cases in all seeds are averaged first


def _mean(table: pl.DataFrame, one: str) -> float:
    rows = table if one == OVERALL else table.filter(pl.col("slice") == one)
    return float(rows.group_by(C.USER).agg(pl.col(METRIC).mean())[METRIC].mean())  # type: ignore[arg-type]


def _gain(ours: pl.DataFrame, theirs: pl.DataFrame, one: str, seed: int) -> str:
    found = _compare(ours, theirs, one, seed)
    return tables.gain(found.difference, found.ci_low, found.ci_high)


def _data(given: argparse.Namespace, found: pl.DataFrame) -> str:
    one = found.filter((pl.col("recommender") == given.recommenders[0]) & (pl.col("arm") == "none"))
    users = {
        word: (one if key == OVERALL else one.filter(pl.col("slice") == key))[C.USER].n_unique()
        for key, word in SLICES.items()
    }
    counts = ", ".join(f"{n:,} {word}" for word, n in users.items())
    n_train = sorted(set(found["n_train"].to_list()))
    return (
        f"{given.seeds} seeds, {n_train[0]:,} to {n_train[-1]:,} training users; different test "
        f"users over all seeds: {counts}. NDCG@10; in brackets the 95 % interval of the difference "
        "paired by user, a user's cases in all seeds averaged first; bold where it excludes 0. The "
        "comparator on the right is the best arm without generated data on test users. With this "
        "many comparisons one or two bold ones are expected by chance."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", help="movielens_100k, or another public layout")
    parser.add_argument("folder", type=Path, nargs="?", help="where its files are")
    parser.add_argument("--seeds", type=int, default=FEWEST)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once")
    parser.add_argument(
        "--min-item-users", type=int, default=1, help="items of fewer users are left out"
    )
    parser.add_argument("--generators", nargs="*", default=available("augrec.generators"))
    parser.add_argument("--recommenders", nargs="*", default=list(REGULARISATION))
    return parser.parse_args()


if __name__ == "__main__":
    main()
