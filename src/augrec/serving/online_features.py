"""User features from the online store, with a time limit and without blocking the event loop.

One thread reads the features of waiting requests in batches, another writes features that events
have changed. If the store is slow or unavailable, requests are answered without features and report
it; while a read hangs, other requests do not wait for the store at all.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from augrec.features.live_features import LiveFeatures

log = logging.getLogger(__name__)

Features = dict[str, Any]
_MAX_BATCH = 64
_MAX_WAITING = 512
_RETRY_S = 15.0


class OnlineFeatures:
    """The newest features of users.

    Args:
        open_: opens the store; called by both threads, every 15 s until it succeeds. None: no
            store.
        timeout_s: maximum time a request waits.
        max_age_s: maximum age of cached features.
        max_users: maximum number of users in the cache.

    Attributes:
        state: "off", "starting", "open" or "unavailable".
        problem: the store's last error, empty after a successful read.
    """

    def __init__(
        self,
        open_: Callable[[], LiveFeatures] | None,
        *,
        timeout_s: float,
        max_age_s: float,
        max_users: int,
    ) -> None:
        self._open, self._timeout_s, self._max_age_s, self._max_users = (
            open_,
            timeout_s,
            max_age_s,
            max_users,
        )
        self._cache: OrderedDict[str, tuple[float, Features]] = OrderedDict()
        self._requests: queue.SimpleQueue[tuple[str, Future[Features]] | None] = queue.SimpleQueue()
        self._blocked_since: float | None = None
        self._changed: dict[str, Features] = {}
        self._writing: dict[str, Features] = {}
        self._change = threading.Condition()
        self._stop = False
        self.live: LiveFeatures | None = None
        self.state = "off" if open_ is None else "starting"
        self.problem = ""
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, which open the store."""
        if self._open is not None:
            self._threads = [
                threading.Thread(target=self._read_all, name="features", daemon=True),
                threading.Thread(target=self._write_all, name="features-write", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    async def get(self, user_id: str) -> Features | None:
        """The user's features; None if the store did not answer in time."""
        unwritten = self._changed.get(user_id) or self._writing.get(user_id)
        if unwritten is not None:  # not in the store yet
            return unwritten
        entry = self._cache.get(user_id)
        if entry is not None and time.monotonic() - entry[0] < self._max_age_s:
            self._cache.move_to_end(user_id)
            return entry[1]
        if self.state != "open" or self._read_hangs() or self._requests.qsize() >= _MAX_WAITING:
            return None
        future: Future[Features] = Future()
        self._requests.put((user_id, future))
        try:
            found = await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)
        except Exception:  # a time-out, or an error of the store, which the thread has logged
            return None
        self._store_in_cache(user_id, found)
        return found

    def cached(self, user_id: str) -> Features | None:
        """The user's features in the cache, regardless of their age."""
        found = self._cache.get(user_id)
        return None if found is None else found[1]

    def update(self, user_id: str, features: Features) -> None:
        """Replace the user's features; they are written to the store in the background."""
        self._store_in_cache(user_id, features)
        with self._change:
            self._changed[user_id] = features
            while len(self._changed) > self._max_users:  # unavailable for long: drop the oldest
                self._changed.pop(next(iter(self._changed)))
            self._change.notify_all()

    def waiting_writes(self) -> int:
        """Number of users whose features are not written yet."""
        return len(self._changed) + len(self._writing)

    def close(self) -> None:
        """Stop; writes have five seconds to finish."""
        with self._change:
            self._stop = True
            self._change.notify_all()
        self._requests.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _read_hangs(self) -> bool:
        since = self._blocked_since
        return since is not None and time.monotonic() - since > self._timeout_s

    def _store_in_cache(self, user_id: str, features: Features) -> None:
        self._cache[user_id] = (time.monotonic(), features)
        self._cache.move_to_end(user_id)
        while len(self._cache) > self._max_users:
            self._cache.popitem(last=False)

    def _read_all(self) -> None:
        live = self._opened()
        if live is None:
            return
        self.live, self.state = live, "open"
        while True:
            batch = [self._requests.get()]
            while len(batch) < _MAX_BATCH and not self._requests.empty():
                batch.append(self._requests.get())
            if None in batch:
                return
            requests = [one for one in batch if one is not None and not one[1].cancelled()]
            self._blocked_since = time.monotonic()
            self._read(live, requests)
            self._blocked_since = None

    def _read(self, live: LiveFeatures, requests: list[tuple[str, Future[Features]]]) -> None:
        try:
            rows = live.read([user for user, _ in requests]) if requests else []
            self.problem = ""
        except Exception as error:
            self._report(error)
            for _, future in requests:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            return
        for (_, future), row in zip(requests, rows, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(row)

    def _write_all(self) -> None:
        live = self._opened()
        while live is not None:
            with self._change:
                while not self._changed and not self._stop:
                    self._change.wait()
                if not self._changed:
                    return
                rows = self._writing = self._changed
                self._changed = {}
            try:
                live.write(rows)
                self._writing = {}
            except Exception as error:
                self._report(error)
                with self._change:
                    self._changed = {**rows, **self._changed}  # newer values take precedence
                    self._writing = {}
                    if self._stop or self._change.wait_for(lambda: self._stop, _RETRY_S):
                        return

    def _opened(self) -> LiveFeatures | None:
        assert self._open is not None
        while not self._stop:
            try:
                return self._open()
            except Exception as error:
                self.state = "unavailable"
                self._report(error)
                with self._change:
                    self._change.wait_for(lambda: self._stop, _RETRY_S)
        return None

    def _report(self, error: Exception) -> None:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if problem != self.problem:
            log.warning("online store: %s", problem)
        self.problem = problem
