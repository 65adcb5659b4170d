"""The short way in for the calls that carry the load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Call = Callable[[Request], Awaitable[Response]]


class FastPath:
    """Answers some POST calls itself: finding a route and three layers of middleware cost more than
    a recommendation.

    Args:
        app: answers everything else, and documents these calls too.
        calls: path -> the call.
        problem: the answer to what a call raised; None where the error is unforeseen, which is
            raised again.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        calls: Mapping[str, Call],
        problem: Callable[[Exception], Response | None],
    ) -> None:
        self._app, self._calls, self._problem = app, calls, problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        call = self._calls.get(scope["path"]) if scope["type"] == "http" else None
        if call is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await call(Request(scope, receive))
        except Exception as error:
            told = self._problem(error)
            if told is None:
                raise
            response = told
        await response(scope, receive, send)
