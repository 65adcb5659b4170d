"""One recommender inside another: its scores on the other's catalogue and on a scale that can be
mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import hits, ndcg, top_k
from augrec.recommenders._explain import Background
from augrec.recommenders.base import Recommender

_CELLS = 2**25
"""At most this number of scores of all members together is held at once: 128 MiB."""
_MARGIN = 1e-3
"""How far below the worst an item stands that a member does not have, as a share of the range of
its scores."""


@dataclass(frozen=True)
class Member:
    """A fitted recommender and where its items stand in the catalogue of the whole.

    Attributes:
        label: its name, unique among the members.
        model: the recommender.
        places: the position in the model's catalogue of each item of the whole, -1 where it has
            none; int32 (n_items,).
    """

    label: str
    model: Recommender
    places: np.ndarray

    @classmethod
    def of(cls, label: str, model: Recommender, items: ItemIndex) -> Member:
        """`model` within the catalogue `items`."""
        if np.array_equal(model.items.ids, items.ids):
            return cls(label, model, np.arange(len(items), dtype=np.int32))
        near = np.minimum(np.searchsorted(model.items.ids, items.ids), len(model.items) - 1)
        return cls(
            label, model, np.where(model.items.ids[near] == items.ids, near, -1).astype(np.int32)
        )

    def scores(self, histories: Histories) -> np.ndarray:
        """The model's scores, fresh float32 (B, n_items); items it does not have come last."""
        table = self.model.score(self._inside(histories))
        if len(self.model.items) == len(self.places):
            return table
        worst, best = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
        below = worst - np.where(best > worst, _MARGIN * (best - worst), _MARGIN)
        return np.where(self.places >= 0, table[:, self.places], below)

    def standardised(self, histories: Histories) -> np.ndarray:
        """`scores` with mean 0 and standard deviation 1 for each user; all 0 where they are all
        equal."""
        table = self.scores(histories)
        mean, scale = _moments(table)
        table -= mean
        table /= scale
        return table

    def contributions(
        self, histories: Histories, targets: np.ndarray, *, standardised: bool
    ) -> np.ndarray:
        """What each item of a history adds to the (standardised) score of each target, float32
        (nnz, m)."""
        inside = self._inside(histories)
        whole = np.zeros((len(histories.items), targets.shape[1]), np.float32)
        if not len(inside.items):
            return whole
        there = np.where(targets >= 0, self.places[targets], -1)
        found = self.model.contributions(inside, there)
        user = np.repeat(np.arange(len(inside)), inside.lengths)
        found = np.where(there[user] >= 0, found, 0.0)
        if standardised:
            found = found / _moments(self.scores(histories))[1][user]
        whole[self.places[histories.items] >= 0] = found
        return whole

    def background(
        self, histories: Histories, targets: np.ndarray, *, standardised: bool
    ) -> Background:
        """What else adds to the (standardised) score of each target, float32 (n, m) by its name."""
        inside = self._inside(histories)
        there = np.where(targets >= 0, self.places[targets], -1)
        scale = _moments(self.scores(histories))[1] if standardised else np.float32(1)
        found = self.model.background(inside, there)
        return {name: np.where(there >= 0, share, 0) / scale for name, share in found.items()}

    def _inside(self, histories: Histories) -> Histories:
        """The same histories on the model's own catalogue."""
        places = self.places[histories.items]
        kept = replace(histories, items=places, n_items=len(self.model.items))
        return kept if (places >= 0).all() else kept.keep(places >= 0)


def _moments(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each row, (B, 1) each; 1 in place of a deviation of nothing
    but rounding."""
    mean = table.mean(axis=1, dtype=np.float64, keepdims=True)
    scale = table.std(axis=1, dtype=np.float64, keepdims=True)
    flat = scale <= 1e-6 * np.abs(mean)
    return mean.astype(np.float32), np.where(flat | (scale == 0), 1, scale).astype(np.float32)


def mix(members: Sequence[Member], weights: np.ndarray, histories: Histories) -> np.ndarray:
    """The one member's scores where one weight is 1, else the weighted sum of standardised ones;
    float32 (B, n_items)."""
    [first, *more] = np.flatnonzero(weights).tolist()
    if not more:
        return members[first].scores(histories)
    table = members[first].standardised(histories) * np.float32(weights[first])
    for place in more:
        table += members[place].standardised(histories) * np.float32(weights[place])
    return table


@dataclass(frozen=True)
class Judged:
    """Cases to judge members by.

    Attributes:
        users: ids, str (n,).
        histories: n of them, with attributes and features of the users.
        targets: in the same catalogue.
        n_targets: unknown ones included, int (n,).
        among: which items lists are made of, bool (n_items,); None: all.
    """

    users: np.ndarray
    histories: Histories
    targets: Histories
    n_targets: np.ndarray
    among: np.ndarray | None = None

    @property
    def n_users(self) -> int:
        """Different users."""
        return len(np.unique(self.users))

    def at(self, rows: np.ndarray, most: int) -> Judged:
        """The cases at `rows`, int (m,), evenly thinned to `most`."""
        rows = rows[:: max(1, -(-len(rows) // most))]
        return Judged(
            self.users[rows],
            self.histories.take(rows),
            self.targets.take(rows),
            self.n_targets[rows],
            self.among,
        )

    def measure(self, members: Sequence[Member], weights: np.ndarray, k: int) -> np.ndarray:
        """Each user's mean NDCG@k under each row of `weights`, float (m, n_members): float64 (m,
        n_users)."""
        used = np.flatnonzero(weights.any(axis=0)).tolist()
        found = np.empty((len(weights), len(self.users)))
        for rows, batch in self._batches(len(used)):
            tables = {place: members[place].standardised(batch) for place in used}
            for number, weight in enumerate(weights.astype(np.float32)):
                [first, *more] = np.flatnonzero(weight).tolist()
                table = weight[first] * tables[first]
                for place in more:
                    table += weight[place] * tables[place]
                found[number, rows] = self._gained(table, rows, batch, k)
        return np.stack([self._by_user(values) for values in found])

    def measure_scores(self, score: Callable[[Histories], np.ndarray], k: int) -> np.ndarray:
        """Each user's mean NDCG@k under scores that are fresh float32 (B, n_items); float64
        (n_users,)."""
        gained = [self._gained(score(batch), rows, batch, k) for rows, batch in self._batches(1)]
        return self._by_user(np.concatenate(gained))

    def _batches(self, n_tables: int) -> Iterator[tuple[slice, Histories]]:
        size = max(1, _CELLS // (n_tables * self.histories.n_items))
        for start in range(0, len(self.users), size):
            yield (
                slice(start, min(start + size, len(self.users))),
                self.histories.slice(start, start + size),
            )

    def _gained(self, table: np.ndarray, rows: slice, batch: Histories, k: int) -> np.ndarray:
        """NDCG@k of each case in a batch, float64 (B,); the table is changed."""
        table[np.repeat(np.arange(len(batch)), batch.lengths), batch.items] = -np.inf
        if self.among is not None:
            table[:, ~self.among] = -np.inf
        ranked, _ = top_k(table, min(k, table.shape[1]))
        return ndcg(hits(ranked, self.targets.slice(rows.start, rows.stop)), self.n_targets[rows])

    def _by_user(self, values: np.ndarray) -> np.ndarray:
        _, user, cases = np.unique(self.users, return_inverse=True, return_counts=True)
        return np.bincount(user, values) / cases
