"""The arms of the map: real rows alone, placebos, smoothers that need no GAN, and generators."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.errors import AugrecError
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.generators import base as generators
from benchmarks._map_models import Training

AMOUNTS = (1, 4)
"""Added users for each real one."""
WEIGHTS = (0.3, 1.0)
PLACEBOS = ("bootstrap", "popularity_random", "crossover", "noise")
SHARES = (0.1, 0.3, 0.6)
RANKS = (5, 20)
REAL, PLACEBO, SMOOTHER, GENERATED = "real", "placebo", "smoother", "generated"


@dataclass(frozen=True)
class Arm:
    """A way to build training data, with everything about it that validation users choose.

    Attributes:
        name, kind: which.
        amount: added users for each real one; 0 where there are none.
        ways: what is chosen among.
    """

    name: str
    kind: str
    amount: int
    ways: list[Training]


@dataclass(frozen=True)
class Arms:
    """Everything that is compared in a draw.

    Attributes:
        items: the catalogue of the training rows.
        all: the arms.
        refused: generator -> why it has none.
        seconds: generator -> CPU time of its training and sample.
    """

    items: ItemIndex
    all: list[Arm]
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def arms(rows: pl.DataFrame, names: Mapping[str, dict[str, Any]], seed: int) -> Arms:
    """The arms of a draw.

    Args:
        rows: of the training users.
        names: generator -> what differs from its defaults.
    """
    items = ItemIndex(rows[C.ITEM])
    real = matrix(rows, items)
    n = real.shape[0]
    plain = Training.of(real, np.ones(n))
    found = [
        Arm("none", REAL, 0, [plain]),
        Arm("shrunk_pairs", SMOOTHER, 0, [plain.shrunk(share, n) for share in SHARES]),
    ]
    for name in PLACEBOS:
        found += _mixed(name, PLACEBO, real, [placebo(name, rows, items, seed)])
    found += _mixed("low_rank", SMOOTHER, real, [low_rank(real, rank, seed) for rank in RANKS])
    made = Arms(items, found)
    for name, config in names.items():
        start = time.process_time()
        try:
            sample = generated(name, config, rows, seed)
        except AugrecError as error:
            made.refused[name] = str(error.what)
            continue
        made.seconds[name] = time.process_time() - start
        found += _mixed(name, GENERATED, real, [matrix(sample, items)])
    return made


def matrix(rows: pl.DataFrame, items: ItemIndex) -> sp.csr_matrix:
    """0/1 profiles, float64 (n_users, n_items)."""
    profiles = Histories.from_interactions(rows, items).matrix().astype(np.float64)
    profiles.data[:] = 1
    return profiles


def placebo(name: str, rows: pl.DataFrame, items: ItemIndex, seed: int) -> sp.csr_matrix:
    """Profiles of the placebo's users, as many as the largest amount wants."""
    most = float(max(AMOUNTS))
    inputs = PolicyInputs(rows, lambda name: rows.clear(), max_ratio=most)
    step = {"mix": {"sample": name, "ratio": most, "weight": 1.0}}
    made = Policy(name, [step], seed=derive(seed, name)).apply(inputs)
    return matrix(made.filter(~pl.col(C.USER).is_in(rows[C.USER].unique().implode())), items)


def generated(name: str, config: dict[str, Any], rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """A generator's users, as many as the largest amount wants."""
    model = generators.find(name)(config, seed=derive(seed, name)).fit(TrainingData(rows))
    return model.sample(max(AMOUNTS) * rows[C.USER].n_unique(), seed=derive(seed, name, "sample"))


def low_rank(real: sp.csr_matrix, rank: int, seed: int) -> sp.csr_matrix:
    """Users of a truncated singular value decomposition: of a user drawn by chance, as many items
    as they have, drawn without replacement by what the decomposition says they would like."""
    draw, n = rng(seed, "low_rank", rank), real.shape[0]
    rank = min(rank, min(real.shape) - 2)
    left, size, right = svds(real, k=rank, rng=np.random.default_rng(seed % 2**32))
    like = np.log(np.maximum((left * size) @ right, 1e-4))  # (n, n_items)
    chosen = draw.integers(0, n, max(AMOUNTS) * n)
    lengths = real.getnnz(1)[chosen]
    rows, columns = [], []
    for place, (user, length) in enumerate(zip(chosen, lengths, strict=True)):
        keys = like[user] + draw.gumbel(size=real.shape[1])
        columns.append(np.argpartition(-keys, length - 1)[:length])
        rows.append(np.full(length, place))
    where = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_matrix(
        (np.ones(len(where[0])), where), shape=(len(chosen), real.shape[1]), dtype=np.float64
    )


def _mixed(
    name: str, kind: str, real: sp.csr_matrix, samples: list[sp.csr_matrix]
) -> Iterator[Arm]:
    """One arm for each amount."""
    n = real.shape[0]
    for amount in AMOUNTS:
        ways = []
        for sample in samples:
            added = sample[: amount * n]
            rows = sp.vstack([real, added]).tocsr()
            ways += [
                Training.of(rows, np.r_[np.ones(n), np.full(added.shape[0], weight)])
                for weight in WEIGHTS
            ]
        yield Arm(name, kind, amount, ways)
