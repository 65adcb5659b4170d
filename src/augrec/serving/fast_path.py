"""A shortcut around routing and middleware for the most frequent calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Call = Callable[[Request], Awaitable[Response]]


class FastPath:
    """Calls some POST endpoints directly: routing and three layers of middleware cost more than a
    recommendation.

    Args:
        app: the application, for all other requests.
        calls: {path: endpoint}.
        problem: the response to an exception of an endpoint; None for an unexpected one, which is
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
        """Answer the request, or pass it on."""
        call = self._calls.get(scope["path"]) if scope["type"] == "http" else None
        if call is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await call(Request(scope, receive))
        except Exception as error:
            answer = self._problem(error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)
