"""User features from the online store, never waited for longer than allowed, and never by the event
loop.

Two threads talk to the store: one reads what is asked together, one writes what events have
changed. Where the store is slow or gone, requests are answered without features and say so; while a
read hangs nobody else is made to wait for it.
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
_TOGETHER = 64
_MOST_WAITING = 512
_RETRY_S = 15.0


class OnlineFeatures:
    """The newest features of users.

    Args:
        open_: opens the store; called in a thread, for each of the two, again every 15 s until it
            works.
        timeout_s: a request waits no longer.
        max_age_s: what was read is used again for so long.
        max_users: features of so many users are kept in memory.

    Attributes:
        state: "off", "starting", "open" or "unavailable".
        problem: what the store said last.
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
        self._kept: OrderedDict[str, tuple[float, Features]] = OrderedDict()
        self._asked: queue.SimpleQueue[tuple[str, Future[Features]] | None] = queue.SimpleQueue()
        self._blocked_since: float | None = None
        self._changed: dict[str, Features] = {}
        self._writing: dict[str, Features] = {}
        self._change = threading.Condition()
        self._ending = False
        self.live: LiveFeatures | None = None
        self.state = "off" if open_ is None else "starting"
        self.problem = ""
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to open the store."""
        if self._open is not None:
            self._threads = [
                threading.Thread(target=self._read_all, name="features", daemon=True),
                threading.Thread(target=self._write_all, name="features-write", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    async def get(self, user_id: str) -> Features | None:
        """The user's features; None where the store did not answer in time."""
        unwritten = self._changed.get(user_id) or self._writing.get(user_id)
        if unwritten is not None:  # the store does not hold it yet
            return unwritten
        kept = self._kept.get(user_id)
        if kept is not None and time.monotonic() - kept[0] < self._max_age_s:
            self._kept.move_to_end(user_id)
            return kept[1]
        if self.state != "open" or self._hangs() or self._asked.qsize() >= _MOST_WAITING:
            return None
        asked: Future[Features] = Future()
        self._asked.put((user_id, asked))
        try:
            found = await asyncio.wait_for(asyncio.wrap_future(asked), self._timeout_s)
        except TimeoutError:
            return None
        except Exception:
            return None
        self._keep(user_id, found)
        return found

    def kept(self, user_id: str) -> Features | None:
        """What is in memory of the user, however old."""
        found = self._kept.get(user_id)
        return None if found is None else found[1]

    def changed(self, user_id: str, features: Features) -> None:
        """Use these features of a user from now on, and write them to the store soon."""
        self._keep(user_id, features)
        with self._change:
            self._changed[user_id] = features
            while (
                len(self._changed) > self._max_users
            ):  # the store has been gone for long: the oldest give way
                self._changed.pop(next(iter(self._changed)))
            self._change.notify_all()

    def waiting_writes(self) -> int:
        """Users whose features are still to be written."""
        return len(self._changed) + len(self._writing)

    def close(self) -> None:
        """Stop; what waits to be written is given five seconds."""
        with self._change:
            self._ending = True
            self._change.notify_all()
        self._asked.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _hangs(self) -> bool:
        since = self._blocked_since
        return since is not None and time.monotonic() - since > self._timeout_s

    def _keep(self, user_id: str, features: Features) -> None:
        self._kept[user_id] = (time.monotonic(), features)
        self._kept.move_to_end(user_id)
        while len(self._kept) > self._max_users:
            self._kept.popitem(last=False)

    def _read_all(self) -> None:
        live = self._opened()
        if live is None:
            return
        self.live, self.state = live, "open"
        while True:
            asked = [self._asked.get()]
            while len(asked) < _TOGETHER and not self._asked.empty():
                asked.append(self._asked.get())
            if None in asked:
                return
            wanted = [one for one in asked if one is not None]
            self._blocked_since = time.monotonic()
            self._read(live, [one for one in wanted if not one[1].cancelled()])
            self._blocked_since = None

    def _read(self, live: LiveFeatures, wanted: list[tuple[str, Future[Features]]]) -> None:
        try:
            rows = live.read([user for user, _ in wanted]) if wanted else []
            self.problem = ""
        except Exception as error:
            self._say(error)
            for _, asked in wanted:
                if asked.set_running_or_notify_cancel():
                    asked.set_exception(error)
            return
        for (_, asked), row in zip(wanted, rows, strict=True):
            if asked.set_running_or_notify_cancel():
                asked.set_result(row)

    def _write_all(self) -> None:
        live = self._opened()
        while live is not None:
            with self._change:
                while not self._changed and not self._ending:
                    self._change.wait()
                if not self._changed:
                    return
                rows = self._writing = self._changed
                self._changed = {}
            try:
                live.write(rows)
                self._writing = {}
            except Exception as error:
                self._say(error)
                with self._change:
                    self._changed = {**rows, **self._changed}  # newer ones win
                    self._writing = {}
                    if self._ending or self._change.wait_for(lambda: self._ending, _RETRY_S):
                        return

    def _opened(self) -> LiveFeatures | None:
        assert self._open is not None
        while not self._ending:
            try:
                return self._open()
            except Exception as error:
                self.state = "unavailable"
                self._say(error)
                with self._change:
                    self._change.wait_for(lambda: self._ending, _RETRY_S)
        return None

    def _say(self, error: Exception) -> None:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if problem != self.problem:
            log.warning("the online store: %s", problem)
        self.problem = problem
