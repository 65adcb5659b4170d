"""Beyond-accuracy metrics of each case: novelty, popularity, diversity and serendipity of a list,
and recall by popularity of the targets.

At cutoff k, for one case:

* novelty: mean self-information -log2(share of training interactions) of the list, in bits; an item
  without interactions counts as half of one.
* popularity: mean training interactions of the list over those of the mean item that has any: 10 is
  ten times as popular.
* popularity_lift: the list's mean popularity over that of the history, minus 1 (Abdollahpouri et
  al. 2019, arXiv 1907.13286); none without a history.
* diversity: 1 - mean cosine of all pairs of the list, by categories or, where items have none, by
  their users (Ziegler et al. 2005).
* serendipity: targets that are not among the k most popular items new to the user, / k (Ge et al.
  2010).
* recall_head, recall_mid, recall_tail, recall_new: recall of the targets of that popularity; none
  for a case without such targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories
from augrec.evaluation.item_statistics import ITEM_GROUPS, ItemStatistics


def beyond_accuracy(
    ranked: np.ndarray,
    hit: np.ndarray,
    history: pl.Series,
    targets: pl.Series,
    statistics: ItemStatistics,
    cutoffs: Sequence[int],
) -> dict[str, np.ndarray]:
    """All metrics of this module.

    Args:
        ranked: positions (n, k); -1 is an empty place.
        hit: which of them are targets, bool (n, k).
        history, targets: List(String) (n,).
        statistics: of the model's items.
        cutoffs: each metric is measured at each of them.

    Returns:
        "novelty@10", …: float64 (n,) each; NaN where a case has no value.
    """
    met = Histories.from_lists(history, statistics.items)
    surprising = hit & ~(
        _places_by_popularity(ranked, met, statistics) < np.asarray(cutoffs)[:, None, None]
    )
    found: dict[str, np.ndarray] = {}
    for place, k in enumerate(cutoffs):
        top = ranked[:, :k]
        found[f"novelty@{k}"] = _mean_over(top, _information(statistics))
        found |= _popularity(top, met, statistics, k)
        found[f"diversity@{k}"] = _diversity(top, statistics.vectors)
        found[f"serendipity@{k}"] = surprising[place][:, :k].sum(axis=1) / k
    return found | _recall_by_group(ranked, hit, targets, statistics, cutoffs)


def _information(statistics: ItemStatistics) -> np.ndarray:
    return -np.log2(np.maximum(statistics.interactions, 0.5) / max(statistics.total, 1))


def _popularity(
    top: np.ndarray, met: Histories, statistics: ItemStatistics, k: int
) -> dict[str, np.ndarray]:
    usual = (
        statistics.interactions[statistics.interactions > 0].mean()
        if statistics.interactions.any()
        else 1.0
    )
    relative = statistics.interactions / usual
    mine = _mean_over(top, relative)
    rows = np.repeat(np.arange(len(met)), met.lengths)
    before = np.bincount(rows, relative[met.items], minlength=len(met)) / np.maximum(met.lengths, 1)
    lift = np.divide(mine, before, out=np.full(len(met), np.nan), where=before > 0) - 1
    return {f"popularity@{k}": mine, f"popularity_lift@{k}": lift}


def _mean_over(top: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of each list's values, float64 (n,); NaN for an empty list."""
    filled = top >= 0
    counts = filled.sum(axis=1)
    total = np.where(filled, values[top], 0.0).sum(axis=1)
    return np.divide(total, counts, out=np.full(len(top), np.nan), where=counts > 0)


def _diversity(top: np.ndarray, vectors: sp.csr_matrix) -> np.ndarray:
    """1 - mean inner product of two items, by |Σ v|² = Σ |v|² + Σ over pairs: linear in the length
    of a list."""
    filled = top >= 0
    starts = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    lists = sp.csr_matrix(
        (np.ones(int(starts[-1])), top[filled], starts), shape=(len(top), vectors.shape[0])
    )
    lengths = _squares(vectors)  # 1, or 0 for an item without a vector
    total, own = _squares(lists @ vectors), lists @ lengths
    known = lists @ (lengths > 0)
    pairs = known * (known - 1)
    alike = np.divide(total - own, pairs, out=np.full(len(top), np.nan), where=pairs > 0)
    return 1 - alike


def _squares(table: sp.csr_matrix) -> np.ndarray:
    """Squared length of each row, float64 (n,)."""
    return np.asarray(table.multiply(table).sum(axis=1)).ravel()


def _places_by_popularity(
    ranked: np.ndarray, met: Histories, statistics: ItemStatistics
) -> np.ndarray:
    """The rank of each recommended item by popularity among items new to the user, int64 (n, k)."""
    n_items = len(statistics.items)
    rank = np.empty(n_items, np.int64)
    rank[np.argsort(-statistics.interactions, kind="stable")] = np.arange(n_items)
    rows = np.repeat(np.arange(len(met)), met.lengths)
    taken = np.unique(rows * n_items + rank[met.items])
    firsts = np.arange(len(met)) * n_items
    own = np.where(ranked >= 0, rank[ranked], n_items - 1)
    above = np.searchsorted(taken, firsts[:, None] + own) - np.searchsorted(taken, firsts)[:, None]
    return own - above


def _recall_by_group(
    ranked: np.ndarray,
    hit: np.ndarray,
    targets: pl.Series,
    statistics: ItemStatistics,
    cutoffs: Sequence[int],
) -> dict[str, np.ndarray]:
    n_groups = len(ITEM_GROUPS)
    wanted = (
        pl.DataFrame({"case": np.arange(len(targets)), C.ITEM: targets})
        .explode(C.ITEM)
        .drop_nulls()
        .unique()
        .join(statistics.group_of, on=C.ITEM, how="left")
        .with_columns(pl.col("group").fill_null(n_groups - 1))
    )
    cells = wanted["case"].to_numpy() * n_groups + wanted["group"].to_numpy()
    n_wanted = np.bincount(cells, minlength=len(targets) * n_groups).reshape(-1, n_groups)
    row, place = np.nonzero(hit)
    cell = row * n_groups + statistics.group[ranked[row, place]]
    found: dict[str, np.ndarray] = {}
    for k in cutoffs:
        hits = np.bincount(cell[place < k], minlength=n_wanted.size).reshape(-1, n_groups)
        recall = np.divide(hits, n_wanted, out=np.full(hits.shape, np.nan), where=n_wanted > 0)
        found |= {f"recall_{name}@{k}": recall[:, group] for group, name in enumerate(ITEM_GROUPS)}
    return found
