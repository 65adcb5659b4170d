"""Is the sample like the data? Likeness is not use: only the gate says whether a sample helps."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy import stats

from augrec.data.columns import Columns as C


def fidelity(real: sp.csr_matrix, synthetic: sp.csr_matrix, top_items: int) -> dict[str, float | None]:
    """Measures on profiles, 0/1 (n_users, n_items) of the same items.

    popularity_correlation: Pearson, of the shares of users who have an item. popularity_rank_correlation: Spearman.
    length_ks: largest gap between the distributions of profile lengths. length_distance: their Wasserstein distance, in
    mean real lengths. pair_correlation: Pearson, between real and synthetic, of the correlations of all pairs of the
    most popular items; 0 where items are drawn independently.
    """
    shares = [np.asarray(table.mean(axis=0)).ravel() for table in (real, synthetic)]
    lengths = [np.diff(table.indptr) for table in (real, synthetic)]
    top = np.argsort(-shares[0], kind="stable")[:top_items]
    return {
        "popularity_correlation": _correlation(*shares),
        "popularity_rank_correlation": _correlation(*(stats.rankdata(part) for part in shares)),
        "length_ks": float(stats.ks_2samp(*lengths, method="asymp").statistic),
        "length_distance": float(stats.wasserstein_distance(*lengths) / max(lengths[0].mean(), 1e-12)),
        "pair_correlation": _correlation(*(_pairs(table[:, top]) for table in (real, synthetic))),
    }


def mix_fidelity(
    real: pl.DataFrame, synthetic: pl.DataFrame, items: pl.DataFrame | None
) -> tuple[dict[str, float | None], dict[str, dict[str, list[float]]]]:
    """Total variation distance of event shares and, where the items tell, of category shares.

    Returns:
        The measures event_distance and category_distance, and the shares behind them.
    """
    measures: dict[str, float | None] = {}
    shares = {"events": _compare(real.select(C.EVENT), synthetic.select(C.EVENT), C.EVENT)}
    if items is not None and C.CATEGORIES in items.columns and items[C.CATEGORIES].list.len().sum():
        listed = items.select(C.ITEM, pl.col(C.CATEGORIES).list.drop_nulls()).filter(
            pl.col(C.CATEGORIES).list.len() > 0
        )
        tables = [
            table.select(C.ITEM).join(listed, on=C.ITEM).select(pl.col(C.CATEGORIES).explode())
            for table in (real, synthetic)
        ]
        shares["categories"] = _compare(tables[0], tables[1], C.CATEGORIES)
    for name, measure in (("events", "event_distance"), ("categories", "category_distance")):
        found = shares.get(name)
        measures[measure] = (
            float(np.abs(np.subtract(found["real"], found["synthetic"])).sum() / 2) if found else None
        )
    return measures, shares


def _compare(real: pl.DataFrame, synthetic: pl.DataFrame, column: str) -> dict[str, list[float]]:
    """Names, most frequent in the real data first, and their shares on both sides."""
    counted = [
        table.group_by(column).len().select(column, pl.col("len") / max(len(table), 1))
        for table in (real, synthetic)
    ]
    both = counted[0].join(
        counted[1], on=column, how="full", coalesce=True, suffix="_synthetic", nulls_equal=True
    )
    both = both.fill_null(0.0).sort(["len", column], descending=[True, False])
    return {
        "names": both[column].fill_null("").to_list(),
        "real": both["len"].to_list(),
        "synthetic": both["len_synthetic"].to_list(),
    }


def _pairs(columns: sp.csr_matrix) -> np.ndarray:
    """Correlations of all pairs of columns, float64 (pairs,); zero where a column does not vary."""
    dense = columns.toarray().astype(np.float64)
    dense -= dense.mean(axis=0)
    norms = np.sqrt((dense**2).sum(axis=0))
    dense /= np.where(norms > 0, norms, 1.0)
    return (dense.T @ dense)[np.triu_indices(dense.shape[1], 1)]


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Pearson; None where one side does not vary."""
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
