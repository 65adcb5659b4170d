"""Users that bring information from outside 100 users of MovieLens 100k: people of another data
set, a generator of them, and users that another model writes; each next to a placebo that has the
same information without a generator.

    python -m benchmarks.map_outside --movietweetings FOLDER [--draws 3]

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
from augrec.data.clean import clean
from augrec.data.columns import Columns as C
from augrec.data.fetch import movielens_100k
from augrec.data.histories import ItemIndex
from augrec.data.sources import read
from benchmarks import tables
from benchmarks._map_arms import generated, matrix, placebo
from benchmarks._map_cells import People, cells, draw
from benchmarks._map_models import Cases, Training, best_fit, case_matrices
from benchmarks._map_tables import Gain, mean_of_users
from benchmarks.environments import WHERE
from benchmarks.map_ablation import AMOUNT, GAN, PLAIN, mixed
from benchmarks.where_it_helps import version

CELL, FEWEST = "movielens-100", 5
RECOMMENDERS = ("ease", "item_knn")
PEOPLE, DRAWN, POPULAR = "people of MovieTweetings", "a GAN of them", "their popularity alone"
TAUGHT, TEACHER, OWN = "users that item-KNN writes", "item_knn", "popularity-random (placebo)"
NOTE = """\
Each arm adds 4 users for each real one. *People of MovieTweetings*: users with at least 5 films,
rated 7 and above, that the training users have too, matched by title and year; *a GAN of them*:
`profile_gan` trained on these; *their popularity alone*: the placebo, users of the same lengths
drawn by the popularity that items have there. *Users that item-KNN writes*: half of the items of a
real user, and as many as are missing of those that item-KNN, fitted on the real users, would
recommend to them. In brackets the 95 % interval of the difference paired by test user, a user's
draws averaged first; bold where it excludes 0."""


def main() -> None:
    given = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cell = next(one for one in cells({}) if one.name == CELL)
    out = given.out / version()
    out.mkdir(parents=True, exist_ok=True)
    for number in range(given.draws):
        path = out / f"{number}.parquet"
        if not path.exists():
            people, seed = draw(cell, number, {}), derive(number, cell.name)
            write_parquet(path, _measure(people, _matched(given.movietweetings), seed))
            print(f"draw {number}", flush=True)
    _write([pl.read_parquet(file) for file in sorted(out.glob("*.parquet"))])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movietweetings", type=Path, required=True, help="where its files are")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=WHERE / "map_outside")
    return parser.parse_args()


def _matched(folder: Path) -> pl.DataFrame:
    """Rows of MovieTweetings with the item ids of MovieLens 100k, by title and year."""
    ours = movielens_100k(WHERE / "movielens-100k").items.select(C.ITEM, title_key())
    theirs = read("movietweetings", folder)
    ids = theirs.items.select(pl.col(C.ITEM).alias("their"), title_key())
    same = ours.join(ids, on="key").unique("key").unique("their").unique(C.ITEM)
    rows = clean(theirs.interactions, {"rating": 7.0}).rename({C.ITEM: "their"})
    return rows.join(same.select("their", C.ITEM), on="their").drop("their")


def title_key() -> pl.Expr:
    """`Godfather, The` of 1972 and `The Godfather (1972)` as the same text."""
    title = pl.col(C.TITLE).str.to_lowercase().str.replace(r"\s*\(\d{4}\)\s*$", "")
    turned = title.str.replace(r"^(.*), (the|a|an)$", "${2} ${1}")
    words = turned.str.replace_all(r"[^a-z0-9]", "")
    return pl.concat_str(words, pl.lit(" "), pl.col("release_year")).alias("key")


def _measure(people: People, elsewhere: pl.DataFrame, seed: int) -> pl.DataFrame:
    """user_id, recommender, arm, ndcg of every test user."""
    items = ItemIndex(people.train[C.ITEM])
    cases = [case_matrices(one, items) for one in (people.valid, people.test)]
    found = []
    for arm, ways in _arms(people.train, elsewhere, items, cases[0], seed).items():
        for name in RECOMMENDERS:
            fit = max((best_fit(name, way, cases) for way in ways), key=lambda one: one.reached)
            named = {"recommender": name, "arm": arm, "ndcg": cases[1].ndcg(fit.scores[1])}
            found.append(pl.DataFrame({C.USER: people.test[C.USER], **named}))
    return pl.concat(found)


def _arms(
    rows: pl.DataFrame, elsewhere: pl.DataFrame, items: ItemIndex, valid: Cases, seed: int
) -> dict[str, list[Training]]:
    real = matrix(rows, items)
    plain = Training.of(real, np.ones(real.shape[0]))
    others = _people(elsewhere, items, AMOUNT * real.shape[0], seed)
    catalogue = ItemIndex(others[C.ITEM])
    popular = placebo("popularity_random", others, catalogue, seed)
    return {
        PLAIN: [plain],
        OWN: mixed(real, placebo("popularity_random", rows, items, seed)),
        GAN: mixed(real, matrix(generated(GAN, {}, rows, seed), items)),
        PEOPLE: mixed(real, matrix(others, items)),
        DRAWN: mixed(real, matrix(generated(GAN, {}, others, seed), items)),
        POPULAR: mixed(real, _moved(popular, catalogue, items)),
        TAUGHT: mixed(real, _written(real, plain, valid, seed)),
    }


def _people(elsewhere: pl.DataFrame, items: ItemIndex, n: int, seed: int) -> pl.DataFrame:
    """Rows with known items of at most `n` people, drawn by chance among those with enough."""
    known = elsewhere.filter(pl.Series(items.encode(elsewhere[C.ITEM]) >= 0, dtype=pl.Boolean))
    users = known.group_by(C.USER).len().filter(pl.col("len") >= FEWEST)[C.USER].sort()
    chosen = users.gather(rng(seed, "people").permutation(len(users))[:n])
    return known.join(chosen.to_frame(), on=C.USER, how="semi", maintain_order="left")


def _moved(profiles: sp.csr_matrix, of: ItemIndex, to: ItemIndex) -> sp.csr_matrix:
    """Profiles over another catalogue, which holds all items."""
    found = profiles.tocoo()
    columns = to.encode(pl.Series(of.ids.tolist(), dtype=pl.String))[found.col]
    shape = (profiles.shape[0], len(to))
    return sp.csr_matrix((found.data, (found.row, columns)), shape=shape)


def _written(real: sp.csr_matrix, plain: Training, valid: Cases, seed: int) -> sp.csr_matrix:
    """Users that item-KNN completes from half of a real user's items."""
    draw_ = rng(seed, "written")
    chosen = real[draw_.integers(0, real.shape[0], AMOUNT * real.shape[0])]
    kept = chosen.copy()
    kept.data = (draw_.random(kept.nnz) < 0.5).astype(np.float32)
    kept.eliminate_zeros()
    none = np.zeros(chosen.shape[0], dtype=np.int64)
    halves = Cases(kept.astype(np.float32), kept.getnnz(1), np.zeros(chosen.shape, bool), none)
    scores = best_fit(TEACHER, plain, [valid, halves]).scores[1]
    scores[kept.nonzero()] = -np.inf
    order = np.argsort(-scores, axis=1)
    missing = chosen.getnnz(1) - kept.getnnz(1)
    written = kept.tolil()
    for user, n in enumerate(missing):
        written[user, order[user, :n]] = 1
    return written.tocsr().astype(np.float64)


def _write(draws: list[pl.DataFrame]) -> None:
    parts = [f"{CELL}, {len(draws)} draws of training users."]
    for name in RECOMMENDERS:
        of = [one.filter(pl.col("recommender") == name) for one in draws]
        plain, popular, lines = mean_of_users(of, PLAIN), mean_of_users(of, POPULAR), []
        for arm in of[0]["arm"].unique(maintain_order=True):
            ndcg = mean_of_users(of, arm)
            gains = [
                "" if arm == other else str(Gain.of(ndcg - base))
                for other, base in ((PLAIN, plain), (POPULAR, popular))
            ]
            lines.append([arm, f"{ndcg.mean():.4f}", *gains])
        header = ["users added", "NDCG@20", "over real data alone", f"over {POPULAR}"]
        parts += [f"## {name}", tables.markdown(header, lines)]
    parts.append(" ".join(NOTE.split()))
    command = tables.command_line("benchmarks.map_outside")
    title = "Users that bring information from outside"
    tables.write("where-it-helps-outside", title, parts, command, tables.own_versions())


if __name__ == "__main__":
    main()
