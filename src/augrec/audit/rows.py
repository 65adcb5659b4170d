"""Are the rows of the sample like real rows: events, values, time gaps, categories?"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from augrec.data.columns import TIME
from augrec.data.columns import Columns as C

_MAX_VALUES = 12
_BINS = 30


def row_fidelity(
    real: pl.DataFrame, synthetic: pl.DataFrame, items: pl.DataFrame | None
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Measures on canonical rows; None where neither side, or no item, has what is measured.

    event_distance, category_distance: total variation distance of the shares, in [0, 1]; categories
    weigh every item's categories by its interactions. value_ks: largest gap between the
    distributions of values (ratings, prices), 1 where one side has none. gap_ks: the same for the
    time between a user's consecutive interactions. later_share: of synthetic rows, those later than
    every real one.

    Returns:
        The measures, and what can be drawn: `events`, `categories` and, where there are few values,
        `values`: names and shares; `value_bins` where there are many and `gaps` (log10 of seconds,
        at least 1): histograms with their edges.
    """
    measures: dict[str, float | None] = {}
    drawn: dict[str, Any] = {
        "events": _shares(real.select(C.EVENT), synthetic.select(C.EVENT), C.EVENT)
    }
    listed = categories_of(items)
    if listed is not None:
        parts = [
            table.select(C.ITEM).join(listed, on=C.ITEM).select(pl.col(C.CATEGORIES).explode())
            for table in (real, synthetic)
        ]
        drawn["categories"] = _shares(parts[0], parts[1], C.CATEGORIES)
    for name, measure in (("events", "event_distance"), ("categories", "category_distance")):
        found = drawn.get(name)
        measures[measure] = (
            float(np.abs(np.subtract(found["real"], found["synthetic"])).sum() / 2)
            if found
            else None
        )
    values = [
        table[C.VALUE].drop_nulls().to_numpy().astype(np.float64) for table in (real, synthetic)
    ]
    gaps = [_gaps(table) for table in (real, synthetic)]
    measures |= {"value_ks": _ks(*values), "gap_ks": _ks(*gaps)}
    later = synthetic[C.TIMESTAMP] > real[C.TIMESTAMP].max()
    measures["later_share"] = float(later.to_numpy().mean()) if len(later) else 0.0
    return measures, {**drawn, **_drawn_values(*values), "gaps": _histogram(*gaps)}


def categories_of(items: pl.DataFrame | None) -> pl.DataFrame | None:
    """item_id and its categories, of the items that have some; None where no item has."""
    if items is None or C.CATEGORIES not in items.columns:
        return None
    listed = items.select(C.ITEM, pl.col(C.CATEGORIES).list.drop_nulls())
    listed = listed.filter(pl.col(C.CATEGORIES).list.len() > 0)
    return listed if len(listed) else None


def _shares(real: pl.DataFrame, synthetic: pl.DataFrame, column: str) -> dict[str, list[Any]]:
    """Names, most frequent in the real data first, and their shares on both sides."""
    counted = [
        table.group_by(column).len().select(column, pl.col("len") / max(len(table), 1))
        for table in (real, synthetic)
    ]
    both = counted[0].join(
        counted[1], on=column, how="full", coalesce=True, suffix="_synthetic", nulls_equal=True
    )
    both = both.with_columns(pl.col("len", "len_synthetic").fill_null(0.0)).sort(
        ["len", column], descending=[True, False]
    )
    return {
        "names": both[column].cast(pl.String).fill_null("").to_list(),
        "real": both["len"].to_list(),
        "synthetic": both["len_synthetic"].to_list(),
    }


def _drawn_values(real: np.ndarray, synthetic: np.ndarray) -> dict[str, Any]:
    if not len(real) or not len(synthetic):
        return {}
    names = np.unique(np.concatenate([real, synthetic]))
    if len(names) > _MAX_VALUES:
        return {"value_bins": _histogram(real, synthetic)}
    shares = [[float((part == name).mean()) for name in names] for part in (real, synthetic)]
    return {
        "values": {
            "names": [f"{name:g}" for name in names],
            "real": shares[0],
            "synthetic": shares[1],
        }
    }


def _gaps(table: pl.DataFrame) -> np.ndarray:
    """log10 of the seconds, at least 1, between a user's consecutive interactions, float64 (rows -
    users,)."""
    ordered = table.select(C.USER, pl.col(C.TIMESTAMP).cast(TIME).to_physical()).sort(
        C.USER, C.TIMESTAMP
    )
    same = pl.col(C.USER) == pl.col(C.USER).shift(1)
    passed = ordered.select(gap=pl.col(C.TIMESTAMP).diff(), same=same).filter("same")["gap"]
    return np.log10(np.maximum(passed.to_numpy() / 1e6, 1.0))


def _histogram(real: np.ndarray, synthetic: np.ndarray) -> dict[str, list[float]] | None:
    both = np.concatenate([real, synthetic])
    if not len(real) or not len(synthetic):
        return None
    edges = np.histogram_bin_edges(both, _BINS)
    counts = [np.histogram(part, edges)[0].tolist() for part in (real, synthetic)]
    return {"edges": edges.tolist(), "real": counts[0], "synthetic": counts[1]}


def _ks(real: np.ndarray, synthetic: np.ndarray) -> float | None:
    if not len(real) and not len(synthetic):
        return None
    if not len(real) or not len(synthetic):
        return 1.0
    return float(stats.ks_2samp(real, synthetic, method="asymp").statistic)
