"""A load generator: many keep-alive connections over loopback, each sending its next request when it has its answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What came of it; times in ms."""

    seconds: float
    statuses: dict[int, int]
    p50: float
    p99: float
    versions: dict[str, int]

    @property
    def rate(self) -> float:
        """Requests answered with 200, a second."""
        return self.statuses.get(200, 0) / self.seconds


def request(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """A POST as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def load(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, rate: float | None = None
) -> Load:
    """Ask again and again.

    Args:
        port: on 127.0.0.1.
        requests: sent in turn.
        connections: so many at once.
        seconds: for so long.
        rate: at most so many requests a second over all connections, at times drawn beforehand: the time a request
            waits because an earlier one is slow counts, so that a slow server is not spared; None: as fast as it goes.
    """
    import uvloop

    return uvloop.run(_load(port, requests, connections, seconds, rate))


async def _load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, rate: float | None
) -> Load:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    versions: Counter[str] = Counter()
    begin = time.perf_counter()
    end = begin + seconds

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = number
        due = begin + (number / rate if rate else 0)
        while (now := time.perf_counter()) < end:
            if rate:
                if due > now:
                    await asyncio.sleep(due - now)
                started = due
                due += connections / rate
            else:
                started = now
            writer.write(requests[place % len(requests)])
            status, version = await _answer(reader)
            times.append(time.perf_counter() - started)
            statuses[status] += 1
            versions[version] += 1
            place += connections
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    await asyncio.gather(*(connection(number) for number in range(connections)))
    took = np.array(times) * 1e3
    p50, p99 = np.percentile(took, [50, 99]) if len(took) else (np.nan, np.nan)
    return Load(time.perf_counter() - begin, dict(statuses), float(p50), float(p99), dict(versions))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    version = (
        head.split(b"x-augrec-model:", 1)[1].split(b"\r\n", 1)[0].strip()
        if b"x-augrec-model:" in head
        else b""
    )
    await reader.readexactly(length)
    return int(head[9:12]), version.decode()
