"""Cross-validation over users: every user is a test user once, so a comparison rests on all of
them.

A pipeline run measures one fold (`prepare.split.fold`); `augrec cross-validate` goes over all of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.config import SplitConfig
from augrec.data.ranking import RankingMetric
from augrec.data.split import split
from augrec.data.training_data import TrainingData
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import OVERALL, metrics_of, summarise
from augrec.recommenders.base import Recommender

FOLD: Final = "fold"


def cross_validate(
    make: Callable[[], Recommender],
    interactions: pl.DataFrame,
    config: SplitConfig | None = None,
    *,
    seed: int,
    cutoffs: Sequence[int] = (10, 20),
    items: pl.DataFrame | None = None,
    users: pl.DataFrame | None = None,
    metric: RankingMetric | None = None,
    on_fold: Callable[[], object] | None = None,
) -> pl.DataFrame:
    """For each fold: train on all folds but two, choose a checkpoint on one's users and measure on
    the other's.

    Args:
        make: gives an unfitted recommender; called once for each fold.
        interactions: what `augrec.data.clean.clean` gives.
        config: `folds`, `fold_in`, `min_targets` and `max_history` are read; None: the defaults.
        seed: assigns users to folds; the same seed gives the same folds, so that two recommenders
            can be paired by user.
        cutoffs: each metric is measured at each of them.
        items, users: see `TrainingData`. Attributes of test users are given when ranking, not when
            training.
        metric: how a checkpoint is chosen; None: by NDCG@10.
        on_fold: called after each fold.

    Returns:
        The columns of `augrec.evaluation.metrics.evaluate` and `fold` (Int32); users of folds in
        turn. Users with fewer than 1 + min_targets items, or with all of them at one timestamp, are
        in no row.

    Raises:
        RefusedError: there are fewer users than folds, or a fold has no users to evaluate.
    """
    config = config or SplitConfig()
    measured = []
    for fold in range(config.folds):
        asked = config.model_copy(update={"protocol": "k_fold", "fold": fold})
        parts = split(interactions, asked, seed)
        known = None if users is None else users.join(parts.held_out, on=C.USER, how="anti")
        cases = _with(users, parts.cases_valid)
        metric = metric or RankingMetric()
        data = TrainingData(parts.train, users=known, items=items, cases=cases, metric=metric)
        recommender = make().fit(data)
        found = evaluate(recommender, _with(users, parts.cases_test), cutoffs)
        measured.append(found.with_columns(pl.lit(fold, pl.Int32).alias(FOLD)))
        if on_fold is not None:
            on_fold()
    return pl.concat(measured)


def summarise_folds(measured: pl.DataFrame) -> dict[str, Any]:
    """Means over all users, and the deviation between folds.

    Args:
        measured: what `cross_validate` gives.

    Returns:
        What `summarise` does, and "folds": each fold's {"n_users", metric…}; "deviation": {metric:
        standard deviation between folds}. Folds share training users, so it is no error of the
        mean: use the paired bootstrap over users.
    """
    rows = measured.drop(FOLD)
    folds = [
        summarise(rows.filter(measured[FOLD] == fold))[OVERALL]
        for fold in measured[FOLD].unique().sort()
    ]
    deviation = {}
    for name in metrics_of(rows):
        values = [fold[name] for fold in folds if fold[name] is not None]
        deviation[name] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summarise(rows) | {"folds": folds, "deviation": deviation}


def _with(users: pl.DataFrame | None, cases: pl.DataFrame) -> pl.DataFrame:
    if users is None:
        return cases
    return cases.join(
        users.unique(C.USER, keep="first"), on=C.USER, how="left", maintain_order="left"
    )
