"""What every request meets first: is it counted, may it come in, is it small enough, is there room
for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from augrec.serving.metrics import Metrics
from augrec.serving.schemas import Problem
from augrec.serving.security import ApiKeys

log = logging.getLogger(__name__)

Answer = tuple[Message, Message]
"""The head and the body of an answer as ASGI sends them."""

_OPEN = ("/health/", "/metrics")
"""Answered under any load."""


class RequestLimiter:
    """Counts, authenticates, bounds and sheds, around the whole application.

    Args:
        app: what it stands before.
        keys: who may call /v1 and /metrics.
        metrics: where requests are counted.
        max_in_flight: more requests at once are turned away with 429.
        max_body: larger bodies are refused with 413, bytes.
        body_timeout_s: a body that does not arrive for so long is answered with 408: slow clients
            must not fill the house.
        hosts: names this service may be asked under, lower case; others get 421. None: any.
        path_of: the path to count a request under: never one with an id in it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: ApiKeys,
        metrics: Metrics,
        max_in_flight: int,
        max_body: int,
        path_of: Callable[[str], str],
        body_timeout_s: float = 10.0,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._app, self._keys, self._metrics = app, keys, metrics
        self._max_in_flight, self._max_body, self._path_of = max_in_flight, max_body, path_of
        self._body_timeout_s, self._hosts = body_timeout_s, hosts
        self._in_flight = 0
        self._too_large = _made(
            413,
            Problem(
                what=f"the body is larger than {max_body // 1024} KiB", fix="send less at once"
            ),
            connection="close",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        path = self._path_of(scope["path"])

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refusal = self._refusal(scope)
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            if refusal is not None:
                await _answer(counted, refusal)
            else:
                await self._bounded(scope, receive, counted)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._metrics.answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Answer | None:
        path = scope["path"]
        headers = dict(scope["headers"])
        if (
            path.startswith(("/v1", "/metrics"))
            and scope["method"] != "OPTIONS"
            and not self._keys.admits(_key(headers))
        ):
            return _NO_KEY
        if self._in_flight >= self._max_in_flight and not path.startswith(_OPEN):
            self._metrics.shed.inc()
            return _TOO_MANY
        if self._hosts is not None and _host(headers) not in self._hosts:
            return _NOT_HERE
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            return self._too_large
        return None

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, reading no more of its body than is allowed."""
        read, answered = 0, False

        async def limited() -> Message:
            nonlocal read
            try:
                async with asyncio.timeout(self._body_timeout_s):
                    message = await receive()
            except TimeoutError:
                raise _TooSlow from None
            read += len(message.get("body", b""))
            if read > self._max_body:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, limited, watched)
        except _TooLarge:
            if not answered:
                await _answer(send, self._too_large)
        except _TooSlow:
            if not answered:
                await _answer(send, _TOO_SLOW)
        except Exception:
            log.exception("a request could not be answered")
            if not answered:
                await _answer(send, _UNFORESEEN)


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


def _host(headers: dict[bytes, bytes]) -> str:
    """The name that the client knows this service by, without the port."""
    name = headers.get(b"host", b"").decode("latin-1").lower()
    if name.startswith("["):  # an IPv6 address
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _key(headers: dict[bytes, bytes]) -> str | None:
    given = headers.get(b"x-api-key")
    if given is None:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            return None
    return given.strip().decode("latin-1")


async def _answer(send: Send, answer: Answer) -> None:
    for message in answer:
        await send(message)


def _made(status: int, problem: Problem, **headers: str) -> Answer:
    body = orjson.dumps(problem.model_dump())
    told = {"content-type": "application/json", "content-length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in told.items()]
    return (
        {"type": "http.response.start", "status": status, "headers": encoded},
        {"type": "http.response.body", "body": body},
    )


# made once: under overload most answers are of this kind, and they must cost next to nothing
_TOO_MANY = _made(
    429, Problem(what="too many requests at once", fix="try again in a second"), retry_after="1"
)
_TOO_SLOW = _made(
    408,
    Problem(what="the body did not arrive", fix="send it at once, with its length"),
    connection="close",
)
_NOT_HERE = _made(
    421,
    Problem(
        what="nobody is served under this name",
        where="header host",
        fix="ask under 127.0.0.1 or localhost, or add the name to serving.allow_hosts in "
        "params.yaml",
    ),
)
_NO_KEY = _made(
    401,
    Problem(
        what="an API key is needed",
        where="header x-api-key",
        fix="ask whoever runs the service for one",
    ),
    www_authenticate="Bearer",
)
_UNFORESEEN = _made(
    500, Problem(what="something unforeseen went wrong", fix="the service's log says what")
)
