"""What every request meets first: is it counted, may it come in, is it small enough, is there room for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from augrec.serving.metrics import Metrics
from augrec.serving.schemas import Problem
from augrec.serving.security import ApiKeys

log = logging.getLogger(__name__)

_OPEN = ("/health/", "/metrics")
"""Answered under any load."""


class Gate:
    """Counts, authenticates, bounds and sheds, around the whole application.

    Args:
        app: what it stands before.
        keys: who may call /v1 and /metrics.
        metrics: where requests are counted.
        max_in_flight: more requests at once are turned away with 429.
        max_body: larger bodies are refused with 413, bytes.
        path_of: the path to count a request under: never one with an id in it.
    """

    def __init__(
        self, app: ASGIApp, *, keys: ApiKeys, metrics: Metrics, max_in_flight: int, max_body: int,
        path_of: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._app, self._keys, self._metrics = app, keys, metrics
        self._max_in_flight, self._max_body, self._path_of = max_in_flight, max_body, path_of
        self._in_flight = 0

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
                await _answer(counted, *refusal)
            else:
                await self._bounded(scope, receive, counted)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._metrics.answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> tuple[int, Problem, dict[str, str]] | None:
        path = scope["path"]
        headers = dict(scope["headers"])
        if (
            path.startswith(("/v1", "/metrics"))
            and scope["method"] != "OPTIONS"
            and not self._keys.admits(_key(headers))
        ):
            problem = Problem(
                what="an API key is needed",
                where="header x-api-key",
                fix="ask whoever runs the service for one",
            )
            return 401, problem, {"www-authenticate": "Bearer"}
        if self._in_flight >= self._max_in_flight and not path.startswith(_OPEN):
            self._metrics.shed.inc()
            return (
                429,
                Problem(what="too many requests at once", fix="try again in a second"),
                {"retry-after": "1"},
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            return 413, self._too_large(), {"connection": "close"}
        return None

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, reading no more of its body than is allowed."""
        read, answered = 0, False

        async def limited() -> Message:
            nonlocal read
            message = await receive()
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
                await _answer(send, 413, self._too_large(), {"connection": "close"})
        except Exception:
            log.exception("a request could not be answered")
            if not answered:
                await _answer(
                    send,
                    500,
                    Problem(what="something unforeseen went wrong", fix="the service's log says what"),
                    {},
                )

    def _too_large(self) -> Problem:
        return Problem(what=f"the body is larger than {self._max_body // 1024} KiB", fix="send less at once")


class _TooLarge(Exception):
    pass


def _key(headers: dict[bytes, bytes]) -> str | None:
    given = headers.get(b"x-api-key")
    if given is None:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            return None
    return given.strip().decode("latin-1")


async def _answer(send: Send, status: int, problem: Problem, headers: dict[str, str]) -> None:
    body = orjson.dumps(problem.model_dump())
    told: dict[str, Any] = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
