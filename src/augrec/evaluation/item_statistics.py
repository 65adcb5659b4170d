"""Popularity, groups and categories of a model's items, and how rankings spread over them.

They come from the real training interactions, the same for every policy. Head is the fewest most
popular items that together have a third of the interactions, tail the least popular ones that have
the last third; items without interactions are new.

At cutoff k, for the catalogue:

* coverage: share of the model's items that are recommended in at least one case.
* gini: Gini index of the number of times each item is recommended: 0 all alike, 1 always the same.

At cutoff k, for a group of items:

* exposure: share of all places in lists that its items take.
* divergence: half the sum over groups of the absolute difference of exposure and share of
  interactions (total variation): 0 equal, 1 nothing in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.core.seeds import rng
from augrec.data.columns import Columns as C
from augrec.data.histories import ItemIndex

ITEM_GROUPS: Final = ("head", "mid", "tail", "new")
_SKETCH: Final = 256
_MAX_CATEGORIES: Final = 20


@dataclass(frozen=True)
class ItemStatistics:
    """Statistics of a model's items.

    Attributes:
        items: the model's.
        interactions: training interactions of each item, int64 (n_items,).
        total: all training interactions, including those of items that the model lacks.
        group_of: item_id, group (position in `ITEM_GROUPS`), for every training item; all others
            are new.
        group: the same for the model's items, int8 (n_items,).
        categories: the categories of each item, each with weight 1 / their number; float64 sparse
            (n_items, n_categories).
        category_names: their names, the most frequent among training interactions first.
        vectors: rows of length 1 (by users: about 1) whose inner products are the similarity of two
            items, sparse (n_items, d); 0 where there is no information: from their categories, or
            without categories from their users.
        alike_by: "categories" or "users".
    """

    items: ItemIndex
    interactions: np.ndarray
    total: int
    group_of: pl.DataFrame
    group: np.ndarray
    categories: sp.csr_matrix
    category_names: list[str]
    vectors: sp.csr_matrix
    alike_by: str

    @classmethod
    def of(
        cls, items: ItemIndex, train: pl.DataFrame, table: pl.DataFrame | None = None
    ) -> ItemStatistics:
        """From training interactions (user_id, item_id) and the items table."""
        positions = items.encode(train[C.ITEM])
        counts = np.bincount(positions[positions >= 0], minlength=len(items))
        group_of = _thirds(train)
        new = len(ITEM_GROUPS) - 1
        found = pl.DataFrame({C.ITEM: items.ids.tolist()}, schema={C.ITEM: pl.String}).join(
            group_of, on=C.ITEM, how="left", maintain_order="left"
        )
        categories, names = _categories(items, counts, table)
        described = categories.nnz > 0
        return cls(
            items=items,
            interactions=counts,
            total=len(train),
            group_of=group_of,
            group=found["group"].fill_null(new).to_numpy(),
            categories=categories,
            category_names=names,
            vectors=_unit_rows(categories.sign()) if described else _user_vectors(items, train),
            alike_by="categories" if described else "users",
        )

    @property
    def popularity(self) -> np.ndarray:
        """Each item's share of the training interactions, float64 (n_items,)."""
        return self.interactions / max(self.total, 1)


def catalogue_metrics(
    ranked: np.ndarray, n_items: int, cutoffs: Sequence[int]
) -> dict[str, float | None]:
    """Metrics of rankings for the catalogue as a whole.

    Args:
        ranked: positions (n, k) of `augrec.evaluation.metrics.rank_cases`; -1 is an empty place.
        n_items: size of the catalogue.
        cutoffs: each metric is measured at each of them.

    Returns:
        "coverage@10", "gini@10", …; None where nothing was recommended.
    """
    found: dict[str, float | None] = {}
    for k in cutoffs:
        counts = np.sort(_places(ranked, k, n_items))
        total = int(counts.sum())
        share_below = (2 * np.arange(1, n_items + 1) - n_items - 1) @ counts
        found[f"coverage@{k}"] = float((counts > 0).mean()) if total else None
        found[f"gini@{k}"] = float(share_below / (n_items * total)) if total else None
    return found


def exposure(
    ranked: np.ndarray, targets: pl.Series, statistics: ItemStatistics, cutoffs: Sequence[int]
) -> dict[str, Any]:
    """Exposure of groups of items: by popularity, and by category.

    Args:
        ranked: positions (n, k).
        targets: List(String) (n,).
        statistics: of the model's items.
        cutoffs: lengths of the lists.

    Returns:
        {"popularity": {"groups": {"head": {"items", "interactions", "targets", "exposure@10", …},
        …}, "divergence@10", …}, "categories": the same with the most frequent categories}. `items`
        is their number, `interactions` and `targets` are shares; an item of several categories
        counts in parts. Shares are None where there is nothing to share; "categories" is empty
        where the items have none.
    """
    wanted = targets.explode(empty_as_null=False)
    known = statistics.items.encode(wanted)
    wanted_counts = np.bincount(known[known >= 0], minlength=len(statistics.items))
    tiers = pl.DataFrame({C.ITEM: wanted}).join(statistics.group_of, on=C.ITEM, how="left")["group"]
    by_tier = sp.csr_matrix(
        (np.ones(len(statistics.group)), (np.arange(len(statistics.group)), statistics.group)),
        shape=(len(statistics.group), len(ITEM_GROUPS)),
    )
    places = {k: _places(ranked, k, len(statistics.items)) for k in cutoffs}
    of_tiers = np.bincount(
        tiers.fill_null(len(ITEM_GROUPS) - 1).to_numpy(), minlength=len(ITEM_GROUPS)
    )
    found = {
        "popularity": _shares(by_tier, list(ITEM_GROUPS), statistics.interactions, of_tiers, places)
    }
    found["categories"] = {}
    if statistics.category_names:
        wanted_categories = statistics.categories.T @ wanted_counts
        found["categories"] = _shares(
            statistics.categories,
            statistics.category_names,
            statistics.interactions,
            wanted_categories,
            places,
        )
    return found


def _shares(
    members: sp.csr_matrix,
    names: Sequence[str],
    interactions: np.ndarray,
    wanted: np.ndarray,
    places: Mapping[int, np.ndarray],
) -> dict[str, Any]:
    """Shares of groups, given the membership of each item in them, (n_items, n_groups)."""
    columns = {"interactions": members.T @ interactions, "targets": wanted}
    columns |= {f"exposure@{k}": members.T @ counts for k, counts in places.items()}
    shares = {
        name: column / column.sum() if column.sum() else None for name, column in columns.items()
    }
    sizes = members.sign().sum(axis=0)
    groups = {
        name: {"items": int(np.asarray(sizes).ravel()[place])}
        | {key: None if share is None else float(share[place]) for key, share in shares.items()}
        for place, name in enumerate(names[:_MAX_CATEGORIES])
    }
    usual = shares["interactions"]
    divergence = {
        f"divergence@{k}": None
        if usual is None or (given := shares[f"exposure@{k}"]) is None
        else float(np.abs(given - usual).sum() / 2)
        for k in places
    }
    return {"groups": groups, **divergence}


def _places(ranked: np.ndarray, k: int, n_items: int) -> np.ndarray:
    top = ranked[:, :k]
    return np.bincount(top[top >= 0], minlength=n_items)


def _thirds(train: pl.DataFrame) -> pl.DataFrame:
    """item_id, group (Int8) of every training item; an item belongs where its first interaction in
    order of rank lies."""
    counts = train.group_by(C.ITEM).len().sort("len", C.ITEM, descending=[True, False])
    before = pl.col("len").cum_sum() - pl.col("len")
    return counts.select(C.ITEM, group=(before * 3 // max(len(train), 1)).cast(pl.Int8))


def _categories(
    items: ItemIndex, counts: np.ndarray, table: pl.DataFrame | None
) -> tuple[sp.csr_matrix, list[str]]:
    nothing = sp.csr_matrix((len(items), 0))
    if table is None or C.CATEGORIES not in table.columns:
        return nothing, []
    pairs = (
        table.unique(C.ITEM, keep="first", maintain_order=True)
        .select(
            C.ITEM, pl.col(C.CATEGORIES).cast(pl.List(pl.String)).list.unique().alias("category")
        )
        .explode("category")
        .drop_nulls()
    )
    rows = items.encode(pairs[C.ITEM])
    pairs, rows = pairs.filter(pl.Series(rows >= 0)), rows[rows >= 0]
    if not len(rows):
        return nothing, []
    weights = 1 / np.bincount(rows, minlength=len(items))[rows]
    ranked = (
        pl.DataFrame({"category": pairs["category"], "n": weights * counts[rows]})
        .group_by("category")
        .agg(pl.col("n").sum().round(6))
        .sort("n", "category", descending=[True, False])["category"]
    )
    codes = pl.DataFrame({"category": ranked, "code": np.arange(len(ranked))})
    columns = pairs.join(codes, on="category", how="left", maintain_order="left")["code"].to_numpy()
    return sp.csr_matrix(
        (weights, (rows, columns)), shape=(len(items), len(ranked))
    ), ranked.to_list()


def _unit_rows(table: sp.csr_matrix) -> sp.csr_matrix:
    lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags_array(1 / np.maximum(lengths, 1e-12)) @ table)


def _user_vectors(items: ItemIndex, train: pl.DataFrame) -> sp.csr_matrix:
    """Items as vectors of their users, each user hashed to one of 256 places with a sign, float64
    sparse (n_items, 256).

    Inner products are those of the full vectors but for an error of about 1 / 16 (feature hashing,
    Weinberger et al. 2009, arXiv 0902.2206).
    """
    positions = items.encode(train[C.ITEM])
    users = train[C.USER].rank("dense").to_numpy().astype(np.int64) - 1
    n_users = int(users.max()) + 1 if len(users) else 0
    random = rng(0, "item vectors")
    place, sign = random.integers(0, _SKETCH, n_users), random.choice([-1.0, 1.0], n_users)
    known = positions >= 0
    cells = positions[known], place[users[known]]
    table = sp.csr_matrix((sign[users[known]], cells), shape=(len(items), _SKETCH))
    counts = np.bincount(positions[known], minlength=len(items))
    return sp.csr_matrix(sp.diags_array(1 / np.sqrt(np.maximum(counts, 1))) @ table)
