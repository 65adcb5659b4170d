"""How good full-catalogue rankings are: for each case, over all users, and for the catalogue as a whole.

Relevance is binary. Seen items are never recommended again. A target the model does not know stays a target: it counts
as a miss, so that models with different catalogues compare fairly.

| metric at cutoff k | for one case |
|---|---|
| ndcg | DCG with discount 1 / log2(rank + 1) over that of an ideal list; the ideal holds min(k, targets) hits |
| recall | hits / targets; below 1 even for a perfect list where there are more than k targets |
| precision | hits / k, also where fewer than k items could be recommended |
| hit_rate | 1 if there is a hit |
| mrr | 1 / rank of the first hit |
| map | mean over min(k, targets) of the precision at each hit's rank |

| metric at cutoff k | for the catalogue |
|---|---|
| coverage | share of the model's items that at least one case is recommended |
| gini | Gini index of how often each item is recommended: 0 all alike, 1 always the same |
| novelty | mean self-information -log2(share of interactions) of the recommended items, in bits |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.data.cases import CASES, known_of
from augrec.data.columns import Columns as C
from augrec.data.columns import require
from augrec.data.histories import Histories
from augrec.data.ranking import hits, ndcg
from augrec.data.slices import SLICES
from augrec.errors import ConfigError
from augrec.recommenders.base import Recommender

METRICS: Final = ("ndcg", "recall", "precision", "hit_rate", "mrr", "map")
OVERALL: Final = "overall"
_NEEDED: Final = {name: CASES[name] for name in (C.USER, "slice", "history", "targets")}


def rank_cases(recommender: Recommender, cases: pl.DataFrame, k: int, *, batch_size: int = 512) -> np.ndarray:
    """The k best unseen items for each case: positions in the recommender's items, int32 (n, k'); -1 is an empty place.

    Raises:
        InputError: columns of `cases` are missing.
    """
    require(cases, _NEEDED, where="cases")
    ranked, _ = recommender.rank(cases["history"], k, known=known_of(cases), batch_size=batch_size)
    return ranked


def evaluate(
    recommender: Recommender, cases: pl.DataFrame, cutoffs: Sequence[int] = (10, 20), *, batch_size: int = 512
) -> pl.DataFrame:
    """Rank the full catalogue for each case and measure; the memory grows with the batch, not with the cases.

    Args:
        recommender: a fitted one.
        cases: see `augrec.data.cases.CASES`.
        cutoffs: each metric is measured at each of them.
        batch_size: cases scored at once.

    Returns:
        One row a case, in the order given: user_id, slice, and Float64 columns "ndcg@10", "recall@10", …

    Raises:
        InputError: columns of `cases` are missing.
        ConfigError: a cutoff is less than 1, or there is none.
    """
    _check(cutoffs)
    ranked = rank_cases(recommender, cases, max(cutoffs), batch_size=batch_size)
    return per_case(ranked, cases, recommender, cutoffs)


def per_case(
    ranked: np.ndarray, cases: pl.DataFrame, recommender: Recommender, cutoffs: Sequence[int]
) -> pl.DataFrame:
    """The metrics of rankings from `rank_cases`; returns what `evaluate` does."""
    _check(cutoffs)
    hit = hits(ranked, Histories.from_lists(cases["targets"], recommender.items))
    n_targets = cases["targets"].list.n_unique().to_numpy()
    columns: dict[str, np.ndarray] = {}
    for k in cutoffs:
        within = np.zeros((len(hit), k), np.bool_)  # a catalogue smaller than k leaves places empty
        within[:, : hit.shape[1]] = hit[:, :k]
        columns |= {f"{name}@{k}": values for name, values in _at_cutoff(within, n_targets).items()}
    return cases.select(C.USER, "slice").with_columns(
        **{name: pl.Series(values) for name, values in columns.items()}
    )


def summarise(measured: pl.DataFrame) -> dict[str, Any]:
    """The means of a table from `evaluate`: {"overall": {"n_users", metric…}, "slices": {slice: {"n_users", metric…}}}.

    A user counts once: overall is the mean over users of the user's mean over cases. None where there is no user.
    """
    present = set(measured["slice"])
    return {
        OVERALL: _means(measured),
        "slices": {
            name: _means(measured.filter(pl.col("slice") == name)) for name in SLICES if name in present
        },
    }


def user_values(measured: pl.DataFrame, metric: str, slice_name: str = OVERALL) -> pl.DataFrame:
    """Each user's mean of a metric over their cases: user_id, value; sorted by user.

    Args:
        measured: rows of `evaluate`.
        metric: a column of it.
        slice_name: one slice, or "overall" (or "all") for every case.

    Raises:
        ConfigError: the metric was not measured.
    """
    if metric not in measured.columns:
        raise ConfigError(f"the metric {metric!r} was not measured", where="params.yaml, gate.metric",
                          fix=f"use one of {', '.join(_metrics(measured))}, or add to evaluation.cutoffs")  # fmt: skip
    if slice_name not in (OVERALL, "all"):
        measured = measured.filter(pl.col("slice") == slice_name)
    users, means = _user_means(measured, [metric])
    return pl.DataFrame(
        {C.USER: users, "value": means[:, 0]}, schema={C.USER: pl.String, "value": pl.Float64}
    )


def catalogue_metrics(
    ranked: np.ndarray, n_items: int, popularity: np.ndarray, cutoffs: Sequence[int]
) -> dict[str, float | None]:
    """What the rankings of `rank_cases` do with the catalogue as a whole.

    Args:
        ranked: positions (n, k); -1 is an empty place.
        n_items: size of the catalogue.
        popularity: each item's share of the real training interactions, float (n_items,).
        cutoffs: each metric is measured at each of them.

    Returns:
        "coverage@10", "gini@10", "novelty@10", …; None where nothing was recommended.
    """
    found: dict[str, float | None] = {}
    information = -np.log2(np.maximum(popularity, np.finfo(np.float32).tiny))
    for k in cutoffs:
        top = ranked[:, :k]
        counts = np.sort(np.bincount(top[top >= 0], minlength=n_items))
        total = int(counts.sum())
        share_below = (2 * np.arange(1, n_items + 1) - n_items - 1) @ counts
        found[f"coverage@{k}"] = float((counts > 0).mean()) if total else None
        found[f"gini@{k}"] = float(share_below / (n_items * total)) if total else None
        found[f"novelty@{k}"] = float(information[top[top >= 0]].mean()) if total else None
    return found


def _check(cutoffs: Sequence[int]) -> None:
    if not cutoffs or min(cutoffs) < 1:
        raise ConfigError(f"cutoffs must be whole numbers from 1 on, not {list(cutoffs)}",
                          where="params.yaml, evaluation.cutoffs", fix="for example cutoffs: [10, 20]")  # fmt: skip


def _at_cutoff(hit: np.ndarray, n_targets: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of lists of length k: hit is bool (n, k), n_targets int (n,); each result float64 (n,)."""
    k = hit.shape[1]
    ranks = np.arange(1, k + 1)
    found = np.cumsum(hit, axis=1)  # (n, k) hits up to each rank
    n_found = found[:, -1]
    first = np.where(n_found > 0, hit.argmax(axis=1) + 1, np.inf)
    precision_at_hits = np.where(hit, found / ranks, 0.0).sum(axis=1)
    return {
        "ndcg": ndcg(hit, n_targets),
        "recall": n_found / np.maximum(n_targets, 1),
        "precision": n_found / k,
        "hit_rate": (n_found > 0).astype(np.float64),
        "mrr": 1 / first,
        "map": precision_at_hits / np.maximum(np.minimum(n_targets, k), 1),
    }


def _metrics(measured: pl.DataFrame) -> list[str]:
    return [name for name in measured.columns if "@" in name]


def _means(measured: pl.DataFrame) -> dict[str, Any]:
    names = _metrics(measured)
    users, means = _user_means(measured, names)
    values = [float(value) for value in means.mean(axis=0)] if len(users) else [None] * len(names)
    return {"n_users": len(users), **dict(zip(names, values, strict=True))}


def _user_means(measured: pl.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Users, sorted, str (n,), and their mean of each column, float64 (n, m); summed in row order: exactly repeatable."""
    users, codes = np.unique(measured[C.USER].to_numpy().astype(str), return_inverse=True)
    counts = np.bincount(codes, minlength=len(users))
    sums = [np.bincount(codes, measured[name].to_numpy(), minlength=len(users)) for name in names]
    return users, np.stack(sums, axis=1) / counts[:, None] if sums else np.zeros((len(users), 0))
