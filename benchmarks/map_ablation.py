"""Why EASE gains from `profile_gan` on 100 users of MovieLens 100k: the arms of one cell of the map
with parts of the generated users taken away, and with other trainings of the generator.

    python -m benchmarks.map_ablation [--cell movielens-100] [--draws 4]

As in `benchmarks.where_it_helps` everything is chosen on validation users for each arm, and the
draws are the map's. Each is stored by the version of the code.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from augrec.core.files import write_parquet
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from benchmarks import tables
from benchmarks._map_arms import WEIGHTS, generated, low_rank, matrix, placebo
from benchmarks._map_cells import People, cells, draw
from benchmarks._map_models import Training, best_fit, case_matrices
from benchmarks._map_tables import Gain
from benchmarks.environments import WHERE
from benchmarks.where_it_helps import version

AMOUNT = 4
SWAPS = 20
"""Attempted swaps for each row of a shuffled table."""
RECOMMENDERS = ("ease", "item_knn")
TRAININGS = {
    "100 steps": {"steps": 100},
    "1,600 steps": {"steps": 1600},
    "hidden 32": {"hidden": 32},
}
PLAIN, GAN = "real data alone", "profile_gan"
NOTE = """\
Each arm adds 4 users for each real one. *Items shuffled*: items are swapped between the GAN's
users, who keep their lengths, and the items their numbers of users: no taste is left. *The GAN's
pairs at the real popularity*: its counts of pairs scaled so that every item has as many users as in
the real data. *The GAN's popularity alone*: as many users, each with as many items, drawn by the
popularity of the items in the GAN's sample. *Trained on shuffled rows*: the GAN learns from real
rows shuffled in the same way. In brackets the 95 % interval of the difference paired by test user,
a user's draws averaged first; bold where it excludes 0."""


def main() -> None:
    given = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cell = next(one for one in cells({}) if one.name == given.cell)
    out = given.out / version()
    out.mkdir(parents=True, exist_ok=True)
    for number in range(given.draws):
        path = out / f"{cell.name}.{number}.parquet"
        if not path.exists():
            found = _measure(draw(cell, number, {}), derive(number, cell.name))
            write_parquet(path, found)
            print(f"{cell.name}, draw {number}", flush=True)
    draws = [pl.read_parquet(file) for file in sorted(out.glob(f"{cell.name}.*.parquet"))]
    _write(cell.name, draws)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", default="movielens-100")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--out", type=Path, default=WHERE / "map_ablation")
    return parser.parse_args()


def _measure(people: People, seed: int) -> pl.DataFrame:
    """user_id, recommender, arm, ndcg of every test user."""
    items = ItemIndex(people.train[C.ITEM])
    cases = [case_matrices(one, items) for one in (people.valid, people.test)]
    found = []
    for arm, ways in _arms(people.train, items, seed).items():
        for name in RECOMMENDERS:
            fit = max((best_fit(name, way, cases) for way in ways), key=lambda one: one.reached)
            ndcg = cases[1].ndcg(fit.scores[1])
            named = {"recommender": name, "arm": arm, "ndcg": ndcg}
            found.append(pl.DataFrame({C.USER: people.test[C.USER], **named}))
    return pl.concat(found)


def _arms(rows: pl.DataFrame, items: ItemIndex, seed: int) -> dict[str, list[Training]]:
    real = matrix(rows, items)
    gan = matrix(generated(GAN, {}, rows, seed), items)
    shuffled = _shuffled_rows(rows, items, seed)
    found = {
        PLAIN: [Training.of(real, np.ones(real.shape[0]))],
        "popularity-random (placebo)": _mixed(
            real, placebo("popularity_random", rows, items, seed)
        ),
        "low-rank users (smoother)": _mixed(real, low_rank(real, 20, seed)),
        GAN: _mixed(real, gan),
        "items shuffled": _mixed(real, swapped(gan, seed)),
        "the GAN's pairs at the real popularity": _pairs_alone(real, gan),
        "the GAN's popularity alone": _mixed(real, _by_popularity(gan, seed)),
        "trained on shuffled rows": _mixed(real, matrix(generated(GAN, {}, shuffled, seed), items)),
    }
    for name, config in TRAININGS.items():
        found[name] = _mixed(real, matrix(generated(GAN, config, rows, seed), items))
    return found


def _mixed(real: sp.csr_matrix, added: sp.csr_matrix) -> list[Training]:
    added = added[: AMOUNT * real.shape[0]]
    n, rows = real.shape[0], sp.vstack([real, added]).tocsr()
    return [
        Training.of(rows, np.r_[np.ones(n), np.full(added.shape[0], weight)]) for weight in WEIGHTS
    ]


def _pairs_alone(real: sp.csr_matrix, gan: sp.csr_matrix) -> list[Training]:
    own, made = (Training.of(one, np.ones(one.shape[0])) for one in (real, gan))
    wanted, count = own.gram.diagonal(), np.maximum(made.gram.diagonal(), 1)
    scale = np.sqrt(wanted / count)
    pairs = made.gram * np.outer(scale, scale)
    return [Training(own.gram + AMOUNT * weight * pairs, own.popularity) for weight in WEIGHTS]


def _by_popularity(gan: sp.csr_matrix, seed: int) -> sp.csr_matrix:
    keys = np.log(np.maximum(np.asarray(gan.sum(0)).ravel(), 1e-3))
    noise = rng(seed, "by_popularity").gumbel(size=gan.shape)
    order = np.argsort(-(keys + noise), axis=1)
    lengths = gan.getnnz(1)
    rows = np.repeat(np.arange(gan.shape[0]), lengths)
    columns = np.concatenate([order[user, :n] for user, n in enumerate(lengths)])
    return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=gan.shape)


def swapped(profiles: sp.csr_matrix, seed: int) -> sp.csr_matrix:
    """The same number of ones in each row and column, otherwise by chance: two users exchange an
    item each has and the other lacks, many times."""
    draw_, found = rng(seed, "swapped"), profiles.tocoo()
    users, places = found.row.copy(), found.col.copy()
    there = set(zip(users.tolist(), places.tolist(), strict=True))
    for a, b in draw_.integers(0, len(users), (SWAPS * len(users), 2)).tolist():
        one, other = (users[a], places[b]), (users[b], places[a])
        if one not in there and other not in there:
            there -= {(users[a], places[a]), (users[b], places[b])}
            there |= {one, other}
            places[a], places[b] = places[b], places[a]
    return sp.csr_matrix((np.ones(len(users)), (users, places)), shape=profiles.shape)


def _shuffled_rows(rows: pl.DataFrame, items: ItemIndex, seed: int) -> pl.DataFrame:
    """The users with items swapped between them; events and times of any rows."""
    histories = Histories.from_interactions(rows, items)
    shuffled = swapped(histories.matrix(), seed)
    users = np.repeat(histories.users, shuffled.getnnz(1))
    named = {C.USER: users.tolist(), C.ITEM: items.decode(shuffled.indices).tolist()}
    return rows.head(len(users)).with_columns(**{key: pl.Series(v) for key, v in named.items()})


def _write(cell: str, draws: list[pl.DataFrame]) -> None:
    sections = []
    for name in RECOMMENDERS:
        lines = []
        of = [one.filter(pl.col("recommender") == name) for one in draws]
        plain = _mean(of, PLAIN)
        for arm in of[0]["arm"].unique(maintain_order=True):
            ndcg = _mean(of, arm)
            ahead = [float(_mean([one], arm).mean() - _mean([one], PLAIN).mean()) > 0 for one in of]
            lines.append(
                [
                    arm,
                    f"{ndcg.mean():.4f}",
                    "" if arm == PLAIN else str(Gain.of(ndcg - plain)),
                    "" if arm == PLAIN else f"{sum(ahead)} of {len(of)}",
                    "" if arm in (PLAIN, GAN) else str(Gain.of(_mean(of, GAN) - ndcg)),
                ]
            )
        header = ["users added", "NDCG@20", "over real data alone", "draws ahead", "GAN over this"]
        sections += [f"## {name}", tables.markdown(header, lines)]
    parts = [f"{cell}, {len(draws)} draws of training users.", *sections, " ".join(NOTE.split())]
    title = "Why generated users help 100 users of MovieLens 100k"
    command = tables.command_line("benchmarks.map_ablation")
    tables.write("where-it-helps-ablation", title, parts, command, tables.own_versions())


def _mean(draws: list[pl.DataFrame], arm: str) -> np.ndarray:
    values = [one.filter(pl.col("arm") == arm).sort(C.USER)["ndcg"].to_numpy() for one in draws]
    return np.asarray(np.mean(values, axis=0))


if __name__ == "__main__":
    main()
