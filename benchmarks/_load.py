"""A load generator: many keep-alive connections over loopback, each sending its next request when
it has its answer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import cast

import numpy as np


@dataclass(frozen=True)
class Load:
    """The outcome; times in ms."""

    seconds: float
    statuses: dict[int, int]
    p50: float
    p99: float
    versions: dict[str, int]

    @property
    def rate(self) -> float:
        """Requests answered with 200 per second."""
        return self.statuses.get(200, 0) / self.seconds


def request(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """The bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: "
        f"application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
) -> Load:
    """Send requests for a time.

    Args:
        port: on 127.0.0.1.
        requests: sent in turn.
        connections: their number.
        seconds: the duration.
        rate: requests per second over all connections, at scheduled times: the time that a request
            waits because an earlier one is slow counts (no coordinated omission); None: as fast as
            possible.
    """
    import uvloop

    gc.collect()
    gc.disable()  # a pause of this process would count as the server's
    try:
        return uvloop.run(_load(port, requests, connections, seconds, rate))
    finally:
        gc.enable()


async def _load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, rate: float | None
) -> Load:
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    end = begin + seconds

    def client(number: int) -> _Client:
        own = requests[number % len(requests) :: connections] or requests
        return _Client(
            own, begin + number / rate if rate else None, connections / rate if rate else 0.0, end
        )

    opened = [
        await loop.create_connection(partial(client, number), "127.0.0.1", port)
        for number in range(connections)
    ]
    clients = [one for _, one in opened]
    await asyncio.gather(*(one.ended for one in clients))
    took = np.array([time for one in clients for time in one.times]) * 1e3
    p50, p99 = np.percentile(took, [50, 99]) if len(took) else (np.nan, np.nan)
    answers = sum((one.answers for one in clients), Counter[tuple[int, str]]())
    statuses, versions = Counter[int](), Counter[str]()
    for (status, version), count in answers.items():
        statuses[status] += count
        versions[version] += count
    return Load(time.perf_counter() - begin, dict(statuses), float(p50), float(p99), dict(versions))


class _Client(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, repeats until the end.

    Args:
        requests: sent in turn.
        due: when the first is due; None: at once, and each next one too.
        every: seconds between two that are due.
        end: no request is sent after that.
    """

    def __init__(
        self, requests: Sequence[bytes], due: float | None, every: float, end: float
    ) -> None:
        self._requests, self._due, self._every, self._end = cycle(requests), due, every, end
        self._loop = asyncio.get_running_loop()
        self._got, self._started = b"", 0.0
        self._transport: asyncio.Transport | None = None
        self.times: list[float] = []
        self.answers: Counter[tuple[int, str]] = Counter()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end_of_head, body = self._got.partition(b"\r\n\r\n")
        if not end_of_head:
            return
        head = head.lower()
        if len(body) < int(_field(head, b"content-length")):
            return
        self.times.append(time.perf_counter() - self._started)
        self.answers[int(head[9:12]), _field(head, b"x-augrec-model").decode()] += 1
        self._got = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server closed a connection"))

    def _next(self) -> None:
        now = time.perf_counter()
        if now >= self._end:
            self.ended.set_result(None)
            assert self._transport is not None
            self._transport.close()
        elif self._due is None:
            self._send(now)
        else:
            due, self._due = self._due, self._due + self._every
            self._loop.call_later(max(0.0, due - now), self._send, due)

    def _send(self, started: float) -> None:
        self._started = started
        assert self._transport is not None
        self._transport.write(next(self._requests))


def _field(head: bytes, name: bytes) -> bytes:
    """The value of a field of a head in lower case; empty where there is none."""
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()
