"""Requests to Airflow that write take turns, where its database is SQLite."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class WriteTurns:
    """ASGI middleware: of the requests that may write, one is answered at a time.

    Airflow writes its audit log on the event loop. On SQLite it would wait there for the lock of
    another request, which cannot commit while the event loop waits: both stood still until the
    lock timed out, and with them every task that reports to Airflow.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READS:
            await self._app(scope, receive, send)
            return
        body = await _body(receive)  # before the turn: a slow client keeps nobody waiting

        async def received() -> Message:
            return body.pop(0) if body else await receive()

        async with self._turn:
            await self._app(scope, received, send)


async def _body(receive: Receive) -> list[Message]:
    """The messages of a request, to its end."""
    found = [await receive()]
    while found[-1].get("more_body"):
        found.append(await receive())
    return found
