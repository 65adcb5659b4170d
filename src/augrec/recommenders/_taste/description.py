"""What a taste group says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData

_SHRINKAGE = 20.0
"""A group's shares are mixed with all users' at the weight of this number of users."""
_ITEMS, _CATEGORIES = 5, 3
_CASES = 512
_PREFIX = "taste."


@dataclass(frozen=True, eq=False)
class TasteGroups:
    """Groups of users of like taste.

    Attributes:
        names: "people who like …", by what sets each apart, str (k,); no two alike.
        sizes: number of training users, int64 (k,).
        shares: each item's share of what the group took, mixed with all users', float32 (k,
            n_items).
        typical: ids of the items that set each group apart, one a line, str (k,).
        categories: categories that do, likewise.
    """

    names: np.ndarray
    sizes: np.ndarray
    shares: np.ndarray
    typical: np.ndarray
    categories: np.ndarray

    def as_json(self) -> list[dict[str, Any]]:
        """One object for each group."""
        return [
            {
                "group": place,
                "name": str(self.names[place]),
                "users": int(self.sizes[place]),
                "items": str(self.typical[place]).splitlines(),
                "categories": str(self.categories[place]).splitlines(),
            }
            for place in range(len(self.names))
        ]

    def background(self, places: np.ndarray, lift: np.ndarray) -> dict[str, np.ndarray]:
        """What users' groups add to scores, by the groups' names: float32 (n, m) each.

        Args:
            places: the group of each user, int64 (n,); negative: none.
            lift: how much more the user's group likes each target than all users do, (n, m).
        """
        return {
            str(self.names[group]): np.where((places == group)[:, None], lift, 0).astype(np.float32)
            for group in np.unique(places[places >= 0]).tolist()
        }

    def state(self) -> dict[str, np.ndarray]:
        """As stored beside the network."""
        return {_PREFIX + name: value for name, value in vars(self).items() if value.size}

    @classmethod
    def of_state(cls, state: dict[str, np.ndarray]) -> TasteGroups:
        """Take it out of what was stored."""
        texts = dict.fromkeys(("names", "typical", "categories"), np.zeros((0,), str))
        empty = texts | {"sizes": np.zeros(0, np.int64), "shares": np.zeros((0, 0), np.float32)}
        found = {name: state.pop(_PREFIX + name, value) for name, value in empty.items()}
        return cls(**found)


def describe(
    memberships: tuple[np.ndarray, np.ndarray],
    histories: Histories,
    index: ItemIndex,
    items: pl.DataFrame | None,
    n_groups: int,
) -> TasteGroups:
    """The groups of some users.

    What sets a group apart has the largest share × log(share / share among all users) (a term of
    the Kullback-Leibler divergence); only what the group takes more often than others counts.

    Args:
        memberships: group, int64 (n,), and distance, float32 (n,), of each user.
        histories: of these users.
        index: the catalogue.
        items: the items table; None: groups are named by items.
        n_groups: their number; 0: there are none.
    """
    labels = memberships[0]
    sizes = np.bincount(labels, minlength=n_groups)[:n_groups]
    shares = group_shares(labels, histories, n_groups)
    overall = np.asarray(histories.matrix().sum(0), np.float64).ravel()
    overall /= max(overall.sum(), 1e-12)
    typical = _most_apart(shares, overall, index.ids, _ITEMS)
    table, names = _categories(items, index)
    categories = _most_apart(shares @ table, overall @ table, names, _CATEGORIES)
    titles = _titles(items, index)
    shown = [[titles[one] for one in row if one] for row in typical.tolist()]
    named = [_name(shown[group][:2], categories[group], group) for group in range(n_groups)]
    longer = [
        f"{name}, such as {row[0]}" if row else name for name, row in zip(named, shown, strict=True)
    ]
    numbered = [f"{name} ({place})" for place, name in enumerate(named, start=1)]
    named = _where_twice(_where_twice(named, longer), numbered)
    return TasteGroups(
        np.array(named, dtype=str),
        sizes,
        shares.astype(np.float32),
        _lines(typical),
        _lines(categories),
    )


def group_shares(labels: np.ndarray, histories: Histories, n_groups: int) -> np.ndarray:
    """Each item's share of what a group took, float64 (n_groups, n_items); mixed with all users' at
    the weight of 20 users' interactions."""
    matrix = histories.matrix()
    membership = sp.csr_matrix(
        (np.ones(len(labels)), (labels, np.arange(len(labels)))),
        shape=(max(n_groups, int(labels.max(initial=-1)) + 1), len(labels)),
    )[:n_groups]
    sums = (membership @ matrix).toarray().astype(np.float64)
    total = np.asarray(matrix.sum(0), np.float64).ravel()
    prior = _SHRINKAGE * total / max(len(labels), 1)
    return (sums + prior) / np.maximum((sums + prior).sum(1, keepdims=True), 1e-12)


def popular_value(
    labels: np.ndarray, of_cases: np.ndarray, known: Histories, data: TrainingData
) -> float:
    """How well the popular items of their group suit validation users.

    Args:
        labels: the group of each training user, int64 (n,).
        of_cases: the group of each validation case, int64 (m,).
        known: the histories of the cases.
        data: with cases.
    """
    assert data.cases is not None
    shares = group_shares(labels, data.histories, int(max(labels.max(), of_cases.max())) + 1)
    ranked = np.empty((len(known), min(data.metric.cutoff, known.n_items)), np.int64)
    for start in range(0, len(known), _CASES):
        batch = known.slice(start, start + _CASES)
        table = shares[of_cases[start : start + _CASES]]
        table[np.repeat(np.arange(len(batch)), batch.lengths), batch.items] = -1
        best = np.argsort(-table, axis=1, kind="stable")[:, : ranked.shape[1]]
        ranked[start : start + _CASES] = best
    return float(data.metric.values(ranked, data.cases["targets"], data.catalogue).mean())


def _most_apart(shares: np.ndarray, overall: np.ndarray, names: np.ndarray, n: int) -> np.ndarray:
    """The names of what sets each group apart most, str (k, m)."""
    n = min(n, len(names))
    apart = shares * np.log(np.maximum(shares, 1e-12) / np.maximum(overall, 1e-12))
    best = np.argsort(-apart, axis=1, kind="stable")[:, :n]
    there = np.take_along_axis(apart, best, 1) > 0
    return np.where(there, names[best] if n else np.zeros(best.shape, str), "").astype(str)


def _where_twice(names: list[str], others: list[str]) -> list[str]:
    """The other name of each group whose name another group has too."""
    return [
        other if names.count(name) > 1 else name for name, other in zip(names, others, strict=True)
    ]


def _lines(names: np.ndarray) -> np.ndarray:
    """The names of each row, one a line, str (k,)."""
    return np.array(["\n".join(name for name in row if name) for row in names.tolist()], dtype=str)


def _categories(items: pl.DataFrame | None, index: ItemIndex) -> tuple[np.ndarray, np.ndarray]:
    """Which item has which category, each with 1 / the number it has, float64 (n_items, m), and
    their names, str (m,)."""
    kind = pl.Null if items is None else items.schema.get(C.CATEGORIES, pl.Null)
    if items is None or not isinstance(kind, pl.List):
        return np.zeros((len(index), 0)), np.zeros(0, str)
    items = items.unique(C.ITEM, keep="first", maintain_order=True)
    rows = items.select(
        position=pl.Series(index.encode(items[C.ITEM])),
        name=pl.col(C.CATEGORIES).cast(pl.List(pl.String)).list.drop_nulls(),
    )
    rows = rows.filter(pl.col("position") >= 0).explode("name").drop_nulls().unique()
    names = np.unique(rows["name"].to_numpy().astype(str))
    table = np.zeros((len(index), len(names)))
    table[rows["position"].to_numpy(), np.searchsorted(names, rows["name"].to_list())] = 1
    return table / np.maximum(table.sum(1, keepdims=True), 1), names


def _titles(items: pl.DataFrame | None, index: ItemIndex) -> dict[str, str]:
    """What to call items."""
    titles = {str(one): str(one) for one in index.ids}
    if items is not None and items.schema.get(C.TITLE, pl.Null) == pl.String:
        rows = items.select(C.ITEM, C.TITLE).drop_nulls().iter_rows()
        titles |= {item: title for item, title in rows if item in titles}
    return titles


def _name(titles: list[str], categories: np.ndarray, group: int) -> str:
    told = [str(one) for one in categories if one][:2] or titles
    return f"people who like {', '.join(told)}" if told else f"taste group {group + 1}"
