"""Takes events in: checks them, stores them, and updates histories and features."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from augrec.core.errors import InputError
from augrec.features.live_features import advance
from augrec.serving.deployer import Deployer
from augrec.serving.event_log import EventLog, StoredEvent
from augrec.serving.live_groups import Followers
from augrec.serving.metrics import Metrics
from augrec.serving.model import Model
from augrec.serving.online_features import OnlineFeatures
from augrec.serving.schemas import Event
from augrec.serving.user_states import UserStates

_MAX_AHEAD_US = 5 * 60 * 1_000_000


class EventIntake:
    """Stores events of users. Belongs to the event loop.

    Args:
        deployer: for the categories of items.
        users: the histories to update.
        events: the event log.
        features: the features to update.
        followers: tells models with taste groups.
        metrics: counts events.
        event_names: valid events.
    """

    def __init__(
        self,
        *,
        deployer: Deployer,
        users: UserStates,
        events: EventLog,
        features: OnlineFeatures,
        followers: Followers,
        metrics: Metrics,
        event_names: tuple[str, ...],
    ) -> None:
        self._deployer, self._users, self._events = deployer, users, events
        self._features, self._metrics, self._followers = features, metrics, followers
        self._event_names = frozenset(event_names)

    async def add(self, events: list[Event]) -> tuple[int, int]:
        """Store events, then update histories and features.

        Returns:
            Number of new events, and of events whose id was stored already.

        Raises:
            InputError: an event is not valid or lies in the future; none of them is stored.
            TransientError: the disk does not keep up.
        """
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        checked = [self._checked(one, place, now_us) for place, one in enumerate(events)]
        # shielded: once on disk an event must count, even if the client has disconnected
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._store(checked)))

    async def _store(self, events: list[StoredEvent]) -> tuple[int, int]:
        users = {one.user_id for one in events}
        # load them into memory first: features and groups depend on the history before the event
        if self._features.state != "off":
            await asyncio.gather(*map(self._users.get, users), *map(self._features.get, users))
        elif any(getattr(one.recommender, "live", None) for one in self._served()):
            await asyncio.gather(*map(self._users.get, users))
        is_new = await self._events.append(events)
        fresh = [one for one, new in zip(events, is_new, strict=True) if new]
        # without an await: no other request may run between reading and updating features
        for one in fresh:
            before = self._users.items_in_memory(one.user_id)
            if self._users.apply([one]):
                self._update_features(one)
                self._followers.tell(self._served(), one.user_id, one.item_id, before)
        self._metrics.events.labels("accepted").inc(len(fresh))
        self._metrics.events.labels("duplicate").inc(len(events) - len(fresh))
        return len(fresh), len(events) - len(fresh)

    def _served(self) -> list[Model]:
        deployment = self._deployer.deployment
        models = (deployment.champion, deployment.challenger)
        return [one for one in models if one is not None]

    def _checked(self, one: Event, place: int, now_us: int) -> StoredEvent:
        where = f"events[{place}]"
        if one.event not in self._event_names:
            raise InputError(
                f"there is no event {one.event!r}",
                where=f"{where}.event",
                fix=f"use one of: {', '.join(sorted(self._event_names))}; params.yaml lists them "
                "under validation.events",
            )
        at_us = now_us
        if one.timestamp is not None:
            at = one.timestamp if one.timestamp.tzinfo else one.timestamp.replace(tzinfo=UTC)
            at_us = int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
            if at_us > now_us + _MAX_AHEAD_US:
                raise InputError(
                    "the event lies in the future",
                    where=f"{where}.timestamp",
                    fix="times without a time zone are UTC",
                )
        return StoredEvent(
            event_id=one.event_id,
            user_id=one.user_id,
            item_id=one.item_id,
            event=one.event,
            value=one.value,
            timestamp_us=at_us,
            received_us=now_us,
            answer_id=one.answer_id,
            position=one.position,
        )

    def _update_features(self, one: StoredEvent) -> None:
        live, before = self._features.live, self._features.cached(one.user_id)
        model = self._deployer.deployment.base
        if live is None or before is None or model is None:
            return
        categories_of = model.metadata.categories_of
        categories = categories_of(one.item_id)
        others = (item for item in self._users.items_in_memory(one.user_id) if item != one.item_id)
        seen = {name for item in others for name in categories_of(item)}
        after = advance(
            before,
            live.schema,
            categories=categories,
            new_categories=len(set(categories) - seen),
            slots=live.slots,
            value=one.value,
        )
        self._features.update(one.user_id, after)
