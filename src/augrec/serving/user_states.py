"""Histories of the most recently requested users, in bounded memory.

The state of a user who is not in memory is rebuilt from the user store and the event log, so that
neither a restart nor an eviction loses anything.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from augrec.recommenders.base import Recommender
from augrec.serving.event_log import EventLog, StoredEvent
from augrec.serving.live_groups import replay
from augrec.serving.user_store import UserStore

_MEAN_HISTORY = 50


@dataclass(slots=True)
class UserState:
    """One user.

    Attributes:
        items: distinct items of positive interactions, oldest first, as in training; at most
            `max_history`.
        attributes: columns of the users table.
    """

    items: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


class UserStates:
    """The users in memory. Not thread-safe: belongs to the event loop; a thread rebuilds states.

    Args:
        store: histories and attributes in data/raw.
        events: the event log.
        positive: {event: minimum value of a positive interaction}; see
            `augrec.data.config.PrepareConfig`.
        max_users: maximum number of users in memory, with 50 items each on average.
        max_history: maximum number of items of a user.
    """

    def __init__(
        self,
        store: UserStore,
        events: EventLog,
        positive: Mapping[str, float | None],
        *,
        max_users: int,
        max_history: int,
    ) -> None:
        self._store, self._events, self._positive = store, events, positive
        self._max_users, self._max_history = max_users, max_history
        self._states: OrderedDict[str, UserState] = OrderedDict()
        self._n_items = 0
        self._loading: dict[str, asyncio.Task[UserState]] = {}
        self._stale: set[str] = set()
        self._generation = 0
        self._thread = ThreadPoolExecutor(1, "users")

    def __len__(self) -> int:
        return len(self._states)

    async def get(self, user_id: str) -> UserState:
        """The user's state; empty for an unknown user."""
        state = self._states.get(user_id)
        if state is not None:
            self._states.move_to_end(user_id)
            return state
        task = self._loading.get(user_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(user_id))
            self._loading[user_id] = task
        return await asyncio.shield(task)

    def apply(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Apply stored events to the states; returns those that changed a history."""
        counted = []
        for one in events:
            state = self._states.get(one.user_id)
            if state is None:
                if one.user_id in self._loading:
                    self._stale.add(one.user_id)  # the load in progress may miss this event
                if self.counts(one.event, one.value):
                    counted.append(one)
                continue
            before = len(state.items)
            if self._add(state, one.item_id, one.event, one.value):
                counted.append(one)
            self._n_items += len(state.items) - before
        self._evict()
        return counted

    def items_in_memory(self, user_id: str) -> list[str]:
        """The items of a user in memory; empty for others."""
        state = self._states.get(user_id)
        return [] if state is None else list(state.items)

    def counts(self, event: str, value: float | None) -> bool:
        """Whether an event is a positive interaction."""
        if not self._positive:
            return True
        if event not in self._positive:
            return False
        least = self._positive[event]
        return least is None or (value is not None and value >= least)

    def replay(self, recommender: Recommender) -> None:
        """Let a model with taste groups follow the latest events again; from any thread."""
        replay(recommender, self._store, self._events, self.counts)

    def some(self, limit: int) -> list[tuple[str, int]]:
        """(user, length of history) of some users in data/raw."""
        return self._store.some(limit)

    def reset(self, store: UserStore) -> None:
        """Clear the memory and use another store, because data/raw changed."""
        self._store = store
        self._states.clear()
        self._n_items = 0
        self._generation += 1

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    async def _load(self, user_id: str) -> UserState:
        try:
            while True:
                self._stale.discard(user_id)
                generation = self._generation
                loop = asyncio.get_running_loop()
                state = await loop.run_in_executor(
                    self._thread, self._rebuild, user_id, self._store
                )
                if user_id not in self._stale and generation == self._generation:
                    break
            self._states[user_id] = state
            self._n_items += len(state.items)
            self._evict()
            return state
        finally:
            self._stale.discard(user_id)
            self._loading.pop(user_id, None)

    def _rebuild(self, user_id: str, store: UserStore) -> UserState:
        state = UserState(dict.fromkeys(store.history(user_id)), store.attributes_of(user_id))
        for item, event, value in self._events.of_user(user_id, 4 * self._max_history):
            self._add(state, item, event, value)
        return state

    def _add(self, state: UserState, item: str, event: str, value: float | None) -> bool:
        if item in state.items or not self.counts(event, value):
            return False
        state.items[item] = None
        if len(state.items) > self._max_history:
            del state.items[next(iter(state.items))]
        return True

    def _evict(self) -> None:
        most = self._max_users * _MEAN_HISTORY
        while len(self._states) > self._max_users or (
            self._n_items > most and len(self._states) > 1
        ):
            _, state = self._states.popitem(last=False)
            self._n_items -= len(state.items)
