"""Taste groups that move with events while a model with such groups serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from augrec.recommenders.base import Recommender
from augrec.serving.batching import Ranker
from augrec.serving.event_log import EventLog
from augrec.serving.model import Model
from augrec.serving.user_store import UserStore

log = logging.getLogger(__name__)

REPLAYED = 10_000
"""The latest events of the log that groups follow again when a model is loaded."""


def follow(recommender: Recommender, max_users: int) -> None:
    """Let a recommender with taste groups follow events, in `recommender.live`; others are as they
    were."""
    if recommender.name() != "group_gan":
        return
    from augrec.recommenders._taste.live import LiveTastes
    from augrec.recommenders.group_gan import GroupGan

    assert isinstance(recommender, GroupGan)
    if recommender.n_groups and recommender.config.grouping == "k_means":
        recommender.live = LiveTastes(recommender, max_users)


def replay(
    recommender: Recommender,
    store: UserStore,
    events: EventLog,
    counts: Callable[[str, float | None], bool],
) -> None:
    """Follow the latest events of the log again, each user from the history in data/raw; what that
    history holds already moves nothing."""
    live = getattr(recommender, "live", None)
    if live is None:
        return
    seen: dict[str, dict[str, None]] = {}
    for user, item, event, value in events.latest(REPLAYED):
        if not counts(event, value):
            continue
        if user not in seen:
            seen[user] = dict.fromkeys(store.history(user))
        if item not in seen[user]:
            live.apply(user, item, list(seen[user]))
            seen[user][item] = None
    log.info("taste groups follow %d users again", len(live))


class Followers:
    """Hands events to the served models that follow them, in their order, in the thread that runs
    models. Belongs to the event loop."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self._tasks: set[asyncio.Task[object]] = set()

    def tell(self, models: Iterable[Model | None], user: str, item: str, before: list[str]) -> None:
        """A user met a new item after those of `before`; returns at once."""
        for model in models:
            live = getattr(model.recommender, "live", None) if model is not None else None
            if model is None or live is None:
                continue
            call = self._ranker.call(model, partial(live.apply, user, item, before))
            task = asyncio.get_running_loop().create_task(call)
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("a taste group could not follow an event", exc_info=problem)
