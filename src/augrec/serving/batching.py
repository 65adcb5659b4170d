"""One thread ranks; what waits while it works is ranked together next.

No request is held back to fill a batch: alone it is ranked at once, under load batches form by
themselves. The event loop never computes, and a slow model delays nobody's time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
import torch

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
    """The thread that asks models. Belongs to one event loop.

    Args:
        max_batch: at most so many queries are ranked together.
        max_scores: so many scores, queries times items, are held at once.
        told: receives the size of each batch, from the thread.
    """

    def __init__(
        self, max_batch: int, max_scores: int, told: Callable[[int], None] = lambda size: None
    ) -> None:
        self._max_batch, self._max_scores, self._told = max_batch, max_scores, told
        self._waiting: deque[_Job] = deque()
        self._busy = False
        self._batches: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Job]] | None] = (
            queue.SimpleQueue()
        )
        self.kinds: dict[str, pl.DataType] = {}
        self._thread = threading.Thread(target=self._work, name="ranker", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    async def rank(self, model: Model, query: Query) -> Found:
        """The best items of one query."""
        return await self._ask(model, query, None)

    async def call(self, model: Model, function: Callable[[], Any]) -> Any:
        """Anything else that a model is asked, in the same thread."""
        return await self._ask(model, None, function)

    def close(self) -> None:
        """Stop after what the thread is doing."""
        self._batches.put(None)
        self._thread.join(timeout=10)

    async def _ask(self, model: Model, query: Query | None, call: Callable[[], Any] | None) -> Any:
        loop = asyncio.get_running_loop()
        job = _Job(model, query, call, loop.create_future())
        self._waiting.append(job)
        if len(self._waiting) == 1 and not self._busy:
            loop.call_soon(
                self._hand_over, loop
            )  # after the other requests that have just been read
        return await job.answer

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the thread what waits, if it is free."""
        batch: list[_Job] = []
        while not self._busy and self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.answer.cancelled():  # else nobody waits for it any longer
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
        torch.set_num_threads(1)  # of this thread: requests share the cores
        while (given := self._batches.get()) is not None:
            loop, batch = given
            for model in dict.fromkeys(job.model for job in batch):
                self._rank([job for job in batch if job.model is model and job.query is not None])
            for job in batch:
                if job.call is not None:
                    _do(job, job.call)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._take_back, loop, batch)

    def _rank(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        self._told(len(jobs))
        try:
            found = self._found(jobs[0].model, [job.query for job in jobs if job.query is not None])
        except Exception:
            for job in (
                jobs
            ):  # one by one: a query that a model stumbles over must not take the others along
                _do(job, partial(self._alone, job))
            return
        for job, one in zip(jobs, found, strict=True):
            job.found = one

    def _alone(self, job: _Job) -> Found:
        assert job.query is not None
        return self._found(job.model, [job.query])[0]

    def _found(self, model: Model, queries: list[Query]) -> list[Found]:
        return rank(
            model.recommender, model.places, queries, self.kinds, self._max_scores, model.index
        )


def _do(job: _Job, function: Callable[[], Any]) -> None:
    try:
        job.found = function()
    except Exception as error:
        job.problem = error
