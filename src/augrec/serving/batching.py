"""One thread ranks requests in batches: the requests that arrive while it works are the next batch.

No request waits for a batch to fill: a single request is ranked at once, and batches form under
load. The event loop never computes, so a slow model does not delay time-outs.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from augrec.serving.model import Model
from augrec.serving.ranking import Found, Query, rank


@dataclass(slots=True, eq=False)
class _Job:
    model: Model
    query: Query | None
    call: Callable[[], Any] | None
    answer: asyncio.Future[Any]
    found: Any = None
    problem: Exception | None = None


class Ranker:
    """The thread that runs models. Belongs to one event loop.

    Args:
        max_batch: maximum number of queries in a batch.
        max_scores: maximum number of scores, queries times items, in memory.
        on_batch: called by the thread with the size of each batch.

    Attributes:
        attribute_types: {attribute of users: its type}; others are ignored.
    """

    def __init__(
        self, max_batch: int, max_scores: int, on_batch: Callable[[int], None] = lambda size: None
    ) -> None:
        self._max_batch, self._max_scores, self._on_batch = max_batch, max_scores, on_batch
        self._waiting: deque[_Job] = deque()
        self._busy = False
        self._batches: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Job]] | None] = (
            queue.SimpleQueue()
        )
        self.attribute_types: dict[str, pl.DataType] = {}
        self._thread = threading.Thread(target=self._work, name="ranker", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Number of waiting jobs."""
        return len(self._waiting)

    async def rank(self, model: Model, query: Query) -> Found:
        """The best items of one query."""
        return await self._ask(model, query, None)

    async def call(self, model: Model, function: Callable[[], Any]) -> Any:
        """Run any other function of a model in the same thread."""
        return await self._ask(model, None, function)

    def close(self) -> None:
        """Stop after the current batch."""
        self._batches.put(None)
        self._thread.join(timeout=10)

    async def _ask(self, model: Model, query: Query | None, call: Callable[[], Any] | None) -> Any:
        loop = asyncio.get_running_loop()
        job = _Job(model, query, call, loop.create_future())
        self._waiting.append(job)
        if len(self._waiting) == 1 and not self._busy:
            # not at once: other requests that have just been read join the batch
            loop.call_soon(self._hand_over, loop)
        return await job.answer

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the thread the waiting jobs, if it is idle."""
        batch: list[_Job] = []
        while not self._busy and self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.answer.cancelled():  # cancelled: the request timed out
                batch.append(job)
        if batch:
            self._busy = True
            self._batches.put((loop, batch))

    def _take_back(self, loop: asyncio.AbstractEventLoop, batch: list[_Job]) -> None:
        for job in batch:
            if job.answer.done():
                continue
            if job.problem is None:
                job.answer.set_result(job.found)
            else:
                job.answer.set_exception(job.problem)
        self._busy = False
        self._hand_over(loop)

    def _work(self) -> None:
        while (given := self._batches.get()) is not None:
            _limit_threads()
            loop, batch = given
            for model in dict.fromkeys(job.model for job in batch):
                self._rank([job for job in batch if job.model is model and job.query is not None])
            for job in batch:
                if job.call is not None:
                    _do(job, job.call)
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._take_back, loop, batch)

    def _rank(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        self._on_batch(len(jobs))
        try:
            found = self._found(jobs[0].model, [job.query for job in jobs if job.query is not None])
        except Exception:
            for job in jobs:  # one by one, so that only the query that caused the error fails
                _do(job, partial(self._alone, job))
            return
        for job, one in zip(jobs, found, strict=True):
            job.found = one

    def _alone(self, job: _Job) -> Found:
        assert job.query is not None
        return self._found(job.model, [job.query])[0]

    def _found(self, model: Model, queries: list[Query]) -> list[Found]:
        return rank(
            model.recommender,
            model.places,
            queries,
            self.attribute_types,
            self._max_scores,
            model.index,
        )


def _limit_threads() -> None:
    """Let a model that uses torch compute in this thread alone: requests share the cores. Others
    never load torch, and while another thread does, requests do not wait for it."""
    limit = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if limit is not None:
        limit(1)


def _do(job: _Job, function: Callable[[], Any]) -> None:
    try:
        job.found = function()
    except Exception as error:
        job.problem = error
