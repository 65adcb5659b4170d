"""Ranked lists: the k best of many scores, which of them were wanted, and how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError
from augrec.core.files import read_json
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex

LIST_METRICS: Final = ("ndcg", "recall", "precision", "f1", "hit_rate", "mrr", "map")
"""How well a list serves a user: what models, checkpoints and values of options can be chosen
by."""
_CROWDED = 4
"""A row with more than this number times k candidates is searched on its own."""


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the k largest in each row, largest first, ties to the smaller
    position.

    What lies above a lower bound of the k-th largest is little more than k candidates a row, and
    only those are sorted; a row with fewer is filled up with the first of those that equal the
    bound.

    Args:
        scores: float32 (B, n), without NaN.
        k: at most n.

    Returns:
        positions int64 (B, k), values float32 (B, k).
    """
    n_rows, n = scores.shape
    bound = _bound(scores, k)
    above = np.flatnonzero(scores > bound[:, None])
    row = above // n
    counts = np.bincount(row, minlength=n_rows)
    crowded = counts > _CROWDED * k
    if crowded.any():
        above, row, counts = above[~crowded[row]], row[~crowded[row]], np.where(crowded, 0, counts)
    shape = n_rows, max(k, int(counts.max(initial=0)))
    positions, values = np.full(shape, n), np.full(shape, -np.inf, np.float32)
    place = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions[row, place], values[row, place] = above - row * n, scores.ravel()[above]
    for short in np.flatnonzero((counts < k) & ~crowded):
        tied = np.flatnonzero(scores[short] == bound[short])[: k - counts[short]]
        positions[short, counts[short] : k], values[short, counts[short] : k] = tied, bound[short]
    for crowd in np.flatnonzero(crowded):
        positions[crowd, :k] = _best_of(scores[crowd], k)
        values[crowd, :k] = scores[crowd, positions[crowd, :k]]
    return _sorted(positions, values, k)


def _sorted(positions: np.ndarray, values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row, largest first, ties to the smaller position.

    Value and position are packed into one whole number each, which NumPy sorts ten times faster
    than it finds an order.
    """
    places = _mirrored((values + np.float32(0)).view(np.int32))  # -0 becomes 0
    keys = (~places).astype(np.int64) << 32 | positions
    keys.sort(axis=1)
    best = keys[:, :k]
    return best & 0xFFFFFFFF, _mirrored((~best >> 32).astype(np.int32)).view(np.float32)


def _mirrored(bits: np.ndarray) -> np.ndarray:
    """The bits of floats as whole numbers, int32, that stand in the same order; and back."""
    return bits ^ (bits >> 31 & 0x7FFFFFFF)


def _bound(scores: np.ndarray, k: int) -> np.ndarray:
    """A value in each row that at least k others reach, float32 (B,).

    The columns are folded upon one another, keeping the larger: as the cells that are left hold
    maxima of different columns, the k-th largest cell is not above the k-th largest score.
    """
    cells = scores
    while cells.shape[1] >= 8 * k:
        half = cells.shape[1] // 2
        folded = np.maximum(cells[:, :half], cells[:, half : 2 * half])
        if cells.shape[1] % 2:
            np.maximum(folded[:, 0], cells[:, -1], out=folded[:, 0])
        cells = folded
    kth = cells.shape[1] - k
    return np.partition(cells, kth, axis=1)[:, kth]


def _best_of(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest of one row, in order of position; ties to the smaller one; int64
    (k,)."""
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > kth)
    tied = np.flatnonzero(scores == kth)[: k - len(above)]
    return np.sort(np.concatenate([above, tied]))


def hits(ranked: np.ndarray, targets: Histories) -> np.ndarray:
    """Which recommended items were wanted.

    Args:
        ranked: item positions (n, k), best first; -1 where a place is empty.
        targets: the n users' wanted items, in the same item index.

    Returns:
        bool (n, k).
    """
    offsets = np.arange(len(ranked), dtype=np.int64) * targets.n_items
    wanted = np.repeat(offsets, targets.lengths) + targets.items
    return np.isin(offsets[:, None] + ranked, wanted) & (ranked >= 0)


def ndcg(hit: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain of lists of length k, binary relevance, discount 1 /
    log2(rank + 1).

    The ideal list holds min(k, n_targets) wanted items in front (Järvelin & Kekäläinen 2002).

    Args:
        hit: bool (n, k).
        n_targets: how many items each user wanted, unknown ones included, int (n,).

    Returns:
        float64 (n,) in [0, 1]; 0 for a user who wanted nothing.
    """
    discounts = 1 / np.log2(np.arange(2, hit.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(n_targets, hit.shape[1])]
    gained = np.where(hit, discounts, 0.0).sum(axis=1)
    return np.divide(gained, ideal, out=np.zeros(len(hit)), where=ideal > 0)


def at_cutoff(hit: np.ndarray, n_targets: np.ndarray) -> dict[str, np.ndarray]:
    """All `LIST_METRICS` of lists of length k, as `augrec.evaluation.metrics` defines them.

    Args:
        hit: bool (n, k).
        n_targets: how many items each user wanted, unknown ones included, int (n,).

    Returns:
        {metric: float64 (n,)}.
    """
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
        "f1": 2 * n_found / (k + n_targets),
        "hit_rate": (n_found > 0).astype(np.float64),
        "mrr": 1 / first,
        "map": precision_at_hits / np.maximum(np.minimum(n_targets, k), 1),
    }


def read_metric(metric: str, where: str = "params.yaml, tuning.metric") -> tuple[str, int]:
    """The name and cutoff of a metric that can be chosen by: "ndcg@10" is ("ndcg", 10).

    Raises:
        ConfigError: there is no such metric, or it is of the catalogue, and not of each list.
    """
    name, _, cutoff = metric.partition("@")
    if name not in LIST_METRICS or not cutoff.isdecimal() or int(cutoff) < 1:
        raise ConfigError(
            f"there is no metric {metric!r} to choose by",
            where=where,
            fix=f"one of {', '.join(LIST_METRICS)} with a cutoff, such as ndcg@10",
        )
    return name, int(cutoff)


@dataclass(frozen=True)
class RankingMetric:
    """The metric that models, checkpoints and values of options are chosen by on validation cases,
    computed as in evaluation.

    Attributes:
        name: one of `LIST_METRICS` and a cutoff.
        familiar: items that lists leave out, where a protocol wants new ones only; None: lists are
            of all items.
    """

    name: str = "ndcg@10"
    familiar: pl.Series | None = None

    @property
    def cutoff(self) -> int:
        """The length of the lists."""
        return read_metric(self.name)[1]

    def among(self, items: ItemIndex) -> np.ndarray | None:
        """Which items of a catalogue lists are made of, bool (n_items,); None: all."""
        if self.familiar is None:
            return None
        new = np.ones(len(items), np.bool_)
        positions = items.encode(self.familiar)
        new[positions[positions >= 0]] = False
        return new

    def values(self, ranked: np.ndarray, targets: pl.Series, items: ItemIndex) -> np.ndarray:
        """The metric of each list, float64 (n,).

        Args:
            ranked: positions in `items`, int (n, at most the cutoff), best first; -1 where a place
                is empty.
            targets: the wanted item ids, List(String) (n,).
            items: the catalogue.
        """
        name, cutoff = read_metric(self.name)
        hit = np.zeros(
            (len(ranked), cutoff), np.bool_
        )  # a catalogue smaller than that leaves places empty
        hit[:, : ranked.shape[1]] = hits(ranked, Histories.from_lists(targets, items))
        return at_cutoff(hit, targets.list.n_unique().to_numpy())[name]


def familiar_items(prepared: Path) -> pl.Series | None:
    """`RankingMetric.familiar` of a run: all items of the training data if the run's protocol wants
    new items, else None.

    Args:
        prepared: the run's data/prepared.
    """
    if not read_json(prepared / "split.json")["rules"]["new_items"]:
        return None
    return pl.read_parquet(prepared / "train.parquet", columns=[C.ITEM])[C.ITEM].unique().sort()
