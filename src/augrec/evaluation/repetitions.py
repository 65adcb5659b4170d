"""An arm trained several times: its users' values, their mean and their variance between
trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.evaluation.user_means import OVERALL, metrics_of, user_values

REPETITION: Final = "repetition"


@dataclass(frozen=True)
class UserValues:
    """Each user's mean of a metric over their cases, for each repetition.

    Attributes:
        users: ids, sorted, str (n,).
        table: float64 (repetitions, n).
    """

    users: np.ndarray
    table: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over repetitions, float64 (n,)."""
        return self.table.mean(axis=0)


@dataclass(frozen=True)
class Spread:
    """The variance that chance in training adds to the mean over users of a single training.

    Attributes:
        variance: of that mean.
        apart: the part of it from the effect of training on each user separately.
        degrees: degrees of freedom of the estimates; 0: nothing was trained twice.
    """

    variance: float
    apart: float
    degrees: int


def read(folder: Path, columns: Sequence[str] | None = None) -> list[pl.DataFrame]:
    """The tables in an arm's folder of reports/evaluation, one for each repetition, that of the
    model that may be promoted first.

    Args:
        folder: with per_user.parquet, and repetitions.parquet where the arm was trained again.
        columns: only these; None: all.
    """
    further = folder / "repetitions.parquet"
    tables = [
        pl.read_parquet(
            folder / "per_user.parquet", columns=None if columns is None else list(columns)
        )
    ]
    if further.exists():
        rows = pl.read_parquet(further, columns=None if columns is None else [REPETITION, *columns])
        tables += [
            part.drop(REPETITION) for part in rows.partition_by(REPETITION, maintain_order=True)
        ]
    return tables


def values_of(tables: Sequence[pl.DataFrame], metric: str, slice_name: str = OVERALL) -> UserValues:
    """Each user's values of a metric in one slice, or in all cases.

    Args:
        tables: rows of `augrec.evaluation.metrics.evaluate` for the same cases, one table a
            repetition.
        metric: a column of them.
        slice_name: one slice, or "overall".

    Raises:
        InputError: the repetitions were not measured on the same users.
    """
    found = [user_values(table, metric, slice_name) for table in tables]
    if any(not one[C.USER].equals(found[0][C.USER]) for one in found[1:]):
        raise _apart(f"slice {slice_name}")
    users = found[0][C.USER].to_numpy().astype(str)
    return UserValues(users, np.stack([one["value"].to_numpy() for one in found]))


def mean_of(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The means over repetitions, case by case: what an arm is said to reach.

    Args:
        tables: rows of `augrec.evaluation.metrics.evaluate` for the same cases in the same order,
            one table a repetition.

    Raises:
        InputError: the repetitions were not measured on the same cases.
    """
    first, *others = tables
    if any(not one[C.USER].equals(first[C.USER]) for one in others):
        raise _apart("reports/evaluation")
    if not others:
        return first
    return first.with_columns(
        pl.mean_horizontal(*(one[name] for one in tables)).alias(name) for name in metrics_of(first)
    )


def _apart(where: str) -> InputError:
    return InputError(
        "the repetitions of an arm were not measured on the same users",
        where=where,
        fix="run the evaluate stage again",
    )


def pooled(arms: Sequence[np.ndarray]) -> Spread:
    """The variance of one training's mean over users, pooled over arms that were trained more than
    once.

    Users and trainings are crossed: training moves all users together (variance σ²), and each user
    separately (τ²), so that the mean of n users has the variance σ² + τ² / n from training to
    training; both are estimated by mean squares. The spread of two or three trainings is a poor
    estimate; that of all of a recommender's arms together is a better one.

    Args:
        arms: for each arm the users' values in each repetition, float64 (repetitions, n).
    """
    repeated = [table for table in arms if table.shape[0] > 1 and table.shape[1] > 1]
    degrees = sum(len(table) - 1 for table in repeated)
    if not degrees:
        return Spread(0.0, 0.0, 0)
    variance = apart = 0.0
    for table in repeated:
        moved = table.mean(axis=1) - table.mean()
        rest = table - table.mean(axis=0) - moved[:, None]
        variance += float((moved**2).sum())
        apart += float((rest**2).sum()) / (table.shape[1] - 1) / table.shape[1]
    return Spread(variance / degrees, apart / degrees, degrees)


def repeated_means(tables: Sequence[pl.DataFrame], metric: str) -> dict[str, dict[str, Any]]:
    """A metric's means for decision.json: {"overall" or slice: {"n_users", "mean", "sd",
    "values"}}.

    `values` are the means over users of each repetition, `mean` is theirs, `sd` their standard
    deviation; None where there are no users, or a single training.
    """
    present = set(tables[0]["slice"])
    return {
        name: _means(values_of(tables, metric, name))
        for name in (OVERALL, *SLICES)
        if name in present | {OVERALL}
    }


def _means(found: UserValues) -> dict[str, Any]:
    n_users, several = len(found.users), len(found.table) > 1
    means = found.table.mean(axis=1) if n_users else None
    return {
        "n_users": n_users,
        "mean": None if means is None else float(means.mean()),
        "sd": None if means is None or not several else float(means.std(ddof=1)),
        "values": [] if means is None else means.tolist(),
    }


def split_of(tables: Sequence[pl.DataFrame], split: str) -> list[pl.DataFrame]:
    """The rows of one split of each table."""
    return [table.filter(pl.col("split") == split) for table in tables]


Arms = Mapping[str, Sequence[pl.DataFrame]]
"""Of one recommender: policy -> a table for each repetition."""
