"""Why EASE gains from `profile_gan` on 100 users of MovieLens 100k, and what its sample discloses:
the arms of one cell of the map with parts of the generated users taken away, other trainings of the
generator, and the audit of each sample.

    python -m benchmarks.map_ablation [--cell movielens-100] [--draws 4]

As in `benchmarks.where_it_helps` everything is chosen on validation users for each arm, and the
draws are the map's. Each is stored by the version of the code.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.files import write_parquet
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.split import ROLE, TEST, VALID
from augrec.data.training_data import TrainingData
from augrec.generators import base as generators
from benchmarks import project, tables
from benchmarks._map_arms import WEIGHTS, generated, low_rank, matrix, placebo
from benchmarks._map_cells import People, cells, draw
from benchmarks._map_models import Training, best_fit, case_matrices
from benchmarks._map_tables import Gain, mean_of_users
from benchmarks.environments import WHERE
from benchmarks.where_it_helps import version

AMOUNT = 4
SWAPS = 20
"""Attempted swaps for each row of a shuffled table."""
PRIVATE = {"learning_rate": 0.01, "hidden": 32, "latent": 4, "privacy": {"epsilon": 8.0}}
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "profile_gan": ("profile_gan", {}),
    "profile_gan, 100 steps": ("profile_gan", {"steps": 100}),
    "profile_gan, 800 steps": ("profile_gan", {"steps": 800}),
    "profile_gan, hidden 32": ("profile_gan", {"hidden": 32}),
    "profile_vae": ("profile_vae", {}),
    "profile_vae, ε = 8": ("profile_vae", PRIVATE),
}
MEASURES = ("attack_auc", "attack_auc_low", "attack_auc_high", "singled_out_share")
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
    """user_id, arm, ndcg of every test user; with the audit's `MEASURES` and `failed`, the limits
    that the sample breaks, null where there is no sample."""
    items = ItemIndex(people.train[C.ITEM])
    cases = [case_matrices(one, items) for one in (people.valid, people.test)]
    samples = {name: _sample(*training, people, seed) for name, training in TRAININGS.items()}
    audits = {name: _audit(sample, people, seed) for name, sample in samples.items()}
    found = []
    for arm, ways in _arms(people.train, items, samples, seed).items():
        fit = max((best_fit("ease", way, cases) for way in ways), key=lambda one: one.reached)
        ndcg = pl.DataFrame({C.USER: people.test[C.USER], "ndcg": cases[1].ndcg(fit.scores[1])})
        of_arm = audits.get(arm, dict.fromkeys(MEASURES) | {"failed": None})
        found.append(
            ndcg.with_columns(
                pl.lit(arm).alias("arm"),
                *(pl.lit(of_arm[name], pl.Float64).alias(name) for name in MEASURES),
                pl.lit(of_arm["failed"], pl.String).alias("failed"),
            )
        )
    return pl.concat(found)


def _sample(kind: str, config: dict[str, Any], people: People, seed: int) -> pl.DataFrame:
    """A private generator may not learn which items occur: it is told all, and rows with others
    than those of training users are left out."""
    if "privacy" not in config:
        return generated(kind, config, people.train, seed)
    rows = pl.concat([people.train.select(C.ITEM), _rows(people.valid).select(C.ITEM)])
    items = rows.unique().sort(C.ITEM)
    data = TrainingData(people.train, items=items)
    model = generators.find(kind)(config, seed=derive(seed, kind)).fit(data)
    drawn = model.sample(AMOUNT * people.train[C.USER].n_unique(), seed=derive(seed, "sample"))
    return drawn.join(people.train.select(C.ITEM).unique(), on=C.ITEM, how="semi")


def _audit(sample: pl.DataFrame, people: People, seed: int) -> dict[str, Any]:
    """The audit of a sample of 4 users for each real one, against all that held-out users did."""
    roles = [(people.valid, VALID), (people.test, TEST)]
    held_out = pl.concat([cases.select(C.USER, pl.lit(role).alias(ROLE)) for cases, role in roles])
    others = pl.concat([_rows(cases) for cases, _ in roles])
    everyone = pl.concat([people.train.select(others.columns), others])
    inputs = AuditInputs(people.train, everyone, held_out, None, None)
    config = project.config(AuditConfig, "audit")
    verdict, _ = audit_sample(sample, inputs, config, generator="the map's", seed=seed)
    measured = {name: verdict["privacy"][name] for name in MEASURES}
    return measured | {"failed": ", ".join(verdict["failed_limits"])}


def _rows(cases: pl.DataFrame) -> pl.DataFrame:
    rows = cases.select(C.USER, pl.concat_list("history", "targets").alias(C.ITEM))
    return rows.explode(C.ITEM)


def _arms(
    rows: pl.DataFrame, items: ItemIndex, samples: Mapping[str, pl.DataFrame], seed: int
) -> dict[str, list[Training]]:
    real = matrix(rows, items)
    gan = matrix(samples[GAN], items)
    shuffled = _shuffled_rows(rows, items, seed)
    found = {
        PLAIN: [Training.of(real, np.ones(real.shape[0]))],
        "popularity-random (placebo)": mixed(real, placebo("popularity_random", rows, items, seed)),
        "low-rank users (smoother)": mixed(real, low_rank(real, 20, seed)),
        "items shuffled": mixed(real, swapped(gan, seed)),
        "the GAN's pairs at the real popularity": _pairs_alone(real, gan),
        "the GAN's popularity alone": mixed(real, _by_popularity(gan, seed)),
        "trained on shuffled rows": mixed(real, matrix(generated(GAN, {}, shuffled, seed), items)),
    }
    for name, sample in samples.items():
        found[name] = mixed(real, matrix(sample, items))
    return found


def mixed(real: sp.csr_matrix, added: sp.csr_matrix) -> list[Training]:
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
    plain, gan = mean_of_users(draws, PLAIN), mean_of_users(draws, GAN)
    lines, risks = [], []
    for arm in draws[0]["arm"].unique(maintain_order=True):
        ndcg = mean_of_users(draws, arm)
        ahead = sum(
            mean_of_users([one], arm).mean() > mean_of_users([one], PLAIN).mean() for one in draws
        )
        gain = [str(Gain.of(ndcg - plain)), f"{ahead} of {len(draws)}"]
        lines.append(
            [
                arm,
                f"{ndcg.mean():.4f}",
                *(["", ""] if arm == PLAIN else gain),
                "" if arm in (PLAIN, GAN) else str(Gain.of(gan - ndcg)),
            ]
        )
        if arm in TRAININGS:
            of_arm = [one.filter(pl.col("arm") == arm).row(0, named=True) for one in draws]
            mean = {name: np.mean([one[name] for one in of_arm]) for name in MEASURES}
            failed = [one["failed"] for one in of_arm]
            broken = sorted({name for each in failed for name in each.split(", ") if name})
            risks.append(
                [
                    arm,
                    f"{mean['attack_auc']:.3f} [{mean['attack_auc_low']:.3f}, "
                    f"{mean['attack_auc_high']:.3f}]",
                    f"{mean['singled_out_share']:.3f}",
                    f"{sum(not one for one in failed)} of {len(failed)}",
                    ", ".join(broken),
                    gain[0],
                ]
            )
    header = ["users added", "NDCG@20", "over real data alone", "draws ahead", "GAN over this"]
    risk = ["sample", "attack's AUC", "singled out", "passed", "broken limits"]
    parts = [
        f"{cell}, EASE, {len(draws)} draws of training users.",
        tables.markdown(header, lines),
        "## What the audit says of these samples",
        tables.markdown([*risk, "over real data alone"], risks),
        " ".join(NOTE.split()),
    ]
    title = "Why generated users help 100 users of MovieLens 100k"
    command = tables.command_line("benchmarks.map_ablation")
    tables.write("where-it-helps-ablation", title, parts, command, tables.own_versions())


if __name__ == "__main__":
    main()
