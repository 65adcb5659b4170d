"""Metrics of full-catalogue rankings for each case. Relevance is binary, seen items are never
recommended again.

A target the model does not know stays a target: it counts as a miss, so that models with different
catalogues compare fairly.

| metric at cutoff k | for one case |
|---|---|
| ndcg | DCG with discount 1 / log2(rank + 1) over that of an ideal list; the ideal holds min(k,
targets) hits |
| recall | hits / targets; below 1 even for a perfect list where there are more than k targets |
| precision | hits / k, also where fewer than k items could be recommended |
| f1 | harmonic mean of precision and recall; 0 without a hit |
| hit_rate | 1 if there is a hit |
| mrr | 1 / rank of the first hit |
| map | mean over min(k, targets) of the precision at each hit's rank |

Further metrics of each case are in `augrec.evaluation.beyond_accuracy`, those of the catalogue as a
whole in `augrec.evaluation.item_statistics`, and means over users, slices, groups and periods in
`augrec.evaluation.user_means`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.cases import CASES, user_features_of
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories
from augrec.data.ranking import at_cutoff, hits
from augrec.evaluation.beyond_accuracy import beyond_accuracy
from augrec.evaluation.item_statistics import ItemStatistics
from augrec.recommenders.base import Recommender

_NEEDED: Final = {name: CASES[name] for name in (C.USER, "slice", "history", "targets")}
_CASES_AT_ONCE: Final = 8192


def rank_cases(
    recommender: Recommender,
    cases: pl.DataFrame,
    k: int,
    *,
    among: np.ndarray | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """The k best unseen items for each case: positions in the recommender's items, int32 (n, k');
    -1 is an empty place.

    Args:
        recommender: a fitted one.
        cases: see `augrec.data.cases.CASES`.
        k: length of the lists.
        among: rank only these, bool (n_items,); None: the full catalogue.
        batch_size: cases scored at once.

    Raises:
        InputError: columns of `cases` are missing.
    """
    require(cases, _NEEDED, where="cases")
    ranked, _ = recommender.rank(
        cases["history"],
        k,
        user_features=user_features_of(cases),
        among=among,
        batch_size=batch_size,
    )
    return ranked


def evaluate(
    recommender: Recommender,
    cases: pl.DataFrame,
    cutoffs: Sequence[int] = (10, 20),
    *,
    among: np.ndarray | None = None,
    batch_size: int = 512,
) -> pl.DataFrame:
    """Rank for each case and measure; the memory grows with the batch, not with the cases.

    Args:
        recommender: a fitted one.
        cases: see `augrec.data.cases.CASES`.
        cutoffs: each metric is measured at each of them.
        among: rank only these, bool (n_items,); None: the full catalogue.
        batch_size: cases scored at once.

    Returns:
        One row a case, in the order given: user_id, slice, and Float64 columns "ndcg@10",
        "recall@10", …

    Raises:
        InputError: columns of `cases` are missing.
        ConfigError: a cutoff is less than 1, or there is none.
    """
    _check(cutoffs)
    ranked = rank_cases(recommender, cases, max(cutoffs), among=among, batch_size=batch_size)
    return per_case(ranked, cases, recommender, cutoffs)


def per_case(
    ranked: np.ndarray,
    cases: pl.DataFrame,
    recommender: Recommender,
    cutoffs: Sequence[int],
    statistics: ItemStatistics | None = None,
) -> pl.DataFrame:
    """The metrics of rankings from `rank_cases`; memory apart from the result does not grow with
    the cases.

    Args:
        ranked: positions (n, k).
        cases: what was ranked for.
        recommender: the model that ranked.
        cutoffs: each metric is measured at each of them.
        statistics: of the recommender's items; adds the metrics of
            `augrec.evaluation.beyond_accuracy`.

    Returns:
        What `evaluate` does; null where a case has no value.
    """
    _check(cutoffs)
    starts = range(0, max(len(ranked), 1), _CASES_AT_ONCE)
    parts = [
        _measure(
            ranked[start : start + _CASES_AT_ONCE],
            cases[start : start + _CASES_AT_ONCE],
            recommender,
            cutoffs,
            statistics,
        )
        for start in starts
    ]
    measured = pl.concat(pl.DataFrame(part) for part in parts)
    return cases.select(C.USER, "slice").hstack(measured.fill_nan(None))


def _measure(
    ranked: np.ndarray,
    cases: pl.DataFrame,
    recommender: Recommender,
    cutoffs: Sequence[int],
    statistics: ItemStatistics | None,
) -> dict[str, np.ndarray]:
    hit = hits(ranked, Histories.from_lists(cases["targets"], recommender.items))
    n_targets = cases["targets"].list.n_unique().to_numpy()
    columns: dict[str, np.ndarray] = {}
    for k in cutoffs:
        within = np.zeros((len(hit), k), np.bool_)  # a catalogue smaller than k leaves places empty
        within[:, : hit.shape[1]] = hit[:, :k]
        columns |= {f"{name}@{k}": values for name, values in at_cutoff(within, n_targets).items()}
    if statistics is not None:
        columns |= beyond_accuracy(
            ranked, hit, cases["history"], cases["targets"], statistics, cutoffs
        )
    return columns


def _check(cutoffs: Sequence[int]) -> None:
    if not cutoffs or min(cutoffs) < 1:
        raise ConfigError(
            f"cutoffs must be whole numbers from 1 on, not {list(cutoffs)}",
            where="params.yaml, evaluation.cutoffs",
            fix="for example cutoffs: [10, 20]",
        )
