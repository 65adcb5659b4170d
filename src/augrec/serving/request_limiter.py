"""Admission of requests: counting, authentication, limits on size, time and concurrency."""

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
"""The ASGI messages of a response."""

_ALWAYS = ("/health/", "/metrics")
"""Paths that are answered under any load."""


class RequestLimiter:
    """Middleware around the whole application that counts, authenticates and limits requests.

    Args:
        app: the application.
        keys: keys for /v1 and /metrics.
        metrics: counts requests.
        max_in_flight: maximum number of concurrent requests; further ones get 429.
        max_body: maximum size of a body, bytes; larger ones get 413.
        path_of: the path under which a request is counted, without ids.
        body_timeout_s: time limit for the next part of a body; after it, the client gets 408, so
            that slow clients cannot use up `max_in_flight`.
        hosts: valid host names in lower case; others get 421. None: any.
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
        self._too_large = _response(
            413,
            Problem(
                what=f"the body is larger than {max_body // 1024} KiB", fix="send a smaller body"
            ),
            connection="close",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
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
                await self._with_body_limits(scope, receive, counted)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._metrics.count_request(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Answer | None:
        path = scope["path"]
        headers = dict(scope["headers"])
        if (
            path.startswith(("/v1", "/metrics"))
            and scope["method"] != "OPTIONS"
            and not self._keys.admits(_key(headers))
        ):
            return _NO_KEY
        if self._in_flight >= self._max_in_flight and not path.startswith(_ALWAYS):
            self._metrics.shed.inc()
            return _TOO_MANY
        if self._hosts is not None and _host(headers) not in self._hosts:
            return _WRONG_HOST
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            return self._too_large
        return None

    async def _with_body_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and limit the size of its body and the time it takes to arrive."""
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
            log.exception("unexpected error in a request")
            if not answered:
                await _answer(send, _UNEXPECTED)


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


def _host(headers: dict[bytes, bytes]) -> str:
    """The host name in the request, without the port."""
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


def _response(status: int, problem: Problem, **headers: str) -> Answer:
    body = orjson.dumps(problem.model_dump())
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    return (
        {"type": "http.response.start", "status": status, "headers": encoded},
        {"type": "http.response.body", "body": body},
    )


# built once: under overload most responses are of this kind, so they must be cheap
_TOO_MANY = _response(
    429, Problem(what="too many requests at once", fix="try again in a second"), retry_after="1"
)
_TOO_SLOW = _response(
    408,
    Problem(what="the body did not arrive in time", fix="send it without delay"),
    connection="close",
)
_WRONG_HOST = _response(
    421,
    Problem(
        what="requests with this host name are not served",
        where="header host",
        fix="use 127.0.0.1 or localhost, or add the name to serving.allow_hosts in params.yaml",
    ),
)
_NO_KEY = _response(
    401,
    Problem(
        what="an API key is required",
        where="header x-api-key",
        fix="ask the operator of the service for a key",
    ),
    www_authenticate="Bearer",
)
_UNEXPECTED = _response(
    500, Problem(what="an unexpected error occurred", fix="see the log of the service")
)
