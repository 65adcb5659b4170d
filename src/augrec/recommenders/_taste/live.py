"""Vectors of active users and of groups that move with every event, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.histories import Histories

if TYPE_CHECKING:
    from augrec.recommenders.group_gan import GroupGan


@dataclass(slots=True)
class _Active:
    """A user in memory: the latest distinct items, the vector, and the group."""

    items: deque[str]
    vector: np.ndarray
    group: int


@dataclass
class LiveTastes:
    """Moves a user's vector with every event, and the group's vector by the mean of what its
    members' events moved theirs.

    A user's vector depends on the history alone, so whoever is not in memory is brought back from
    the stored history with the same vector. The groups' vectors depend on the events since the
    model was trained: after a restart `replay` them in their order.

    Args:
        model: fitted, with groups.
        max_users: users in memory, at most; the longest inactive leave first.
        max_items: latest distinct items kept of each.

    Raises:
        InputError: the model has no groups, or a limit is less than 1.
    """

    model: GroupGan
    max_users: int = 100_000
    max_items: int = 500
    centres: np.ndarray = field(init=False)
    """The groups' vectors now, float32 (n_groups, width)."""

    def __post_init__(self) -> None:
        n = self.model.n_groups
        if not n or self.max_users < 1 or self.max_items < 1:
            raise InputError(
                f"{n} groups, at most {self.max_users} users of {self.max_items} items",
                where="live tastes",
                fix="take a model with groups, and limits of at least 1",
            )
        self.centres = self.model.centres()
        self._sizes = np.maximum(self.model.group_sizes(), 1)
        self._users: OrderedDict[str, _Active] = OrderedDict()

    def __len__(self) -> int:
        return len(self._users)

    def load(self, user: str, history: Iterable[str]) -> int:
        """Bring a user in from the stored history, oldest first; gives the group. No group's vector
        moves."""
        items = deque(dict.fromkeys(reversed(list(history))), maxlen=self.max_items)
        items = deque(reversed(items), maxlen=self.max_items)
        vector = self._vector(items)
        self._keep(user, _Active(items, vector, self._nearest(vector)))
        return self._users[user].group

    def apply(self, user: str, item: str) -> int:
        """One event: move the user's vector and the group's; gives the group after it.

        An unknown item moves nothing. A user who is not in memory begins without a history: `load`
        whoever has one first.
        """
        if user not in self._users:
            self.load(user, [])
        one = self._users[user]
        self._users.move_to_end(user)
        if self.model.items.encode(pl.Series([item], dtype=pl.String))[0] < 0:
            return one.group
        if item in one.items:
            one.items.remove(item)
        one.items.append(item)
        vector = self._vector(one.items)
        group = self._nearest(vector)
        if len(one.items) > 1 and group == one.group:  # who joins brings no move of their own
            self.centres[group] += (vector - one.vector) / self._sizes[group]
        one.vector, one.group = vector, group
        return group

    def replay(self, events: Iterable[tuple[str, str]]) -> None:
        """Apply (user, item) events in their order."""
        for user, item in events:
            self.apply(user, item)

    def scores(self, user: str) -> np.ndarray:
        """A score for every item given the user's events and the groups as they are now, float32
        (n_items,); popularity for a user without any."""
        one = self._users.get(user)
        if one is None or not one.items:
            return self.model.popularity.copy()
        return self.model.scores_with(self._history(one.items), self.centres)[0]

    def _history(self, items: Iterable[str]) -> Histories:
        lists = pl.Series([list(items)], dtype=pl.List(pl.String))
        return Histories.from_lists(lists, self.model.items)

    def _vector(self, items: Iterable[str]) -> np.ndarray:
        return self.model.user_vectors(self._history(items))[0]

    def _nearest(self, vector: np.ndarray) -> int:
        return int(((self.centres - vector) ** 2).sum(1).argmin())

    def _keep(self, user: str, one: _Active) -> None:
        self._users[user] = one
        self._users.move_to_end(user)
        while len(self._users) > self.max_users:
            self._users.popitem(last=False)
