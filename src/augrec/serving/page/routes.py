"""Endpoints of the page: `GET /`, its static files, and the data of its second tab.

The static files are public and contain no data. All data comes from endpoints below /v1, including
`/v1/page/retrain`, `/v1/page/report` and `/v1/page/audit/…`, which require an API key if there are
any.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response

from augrec.serving.page.retrain import LastRetrain

_STATIC: Final = Path(__file__).parent / "static"
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: only its own files, no inline script or style."""
REPORT_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of a report: inline styles, no scripts."""

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API's documentation; FastAPI's own page would load scripts from another site."""
    return _answer(request, "docs.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """One of the page's files."""
    return _answer(request, name, {})


@router.get("/v1/page/retrain")
def retrain(request: Request) -> dict[str, Any]:
    """Decision, audits and figures of the last retrain."""
    return _last(request).read()


@router.get("/v1/page/report")
def report(request: Request) -> Response:
    """The report of the last retrain."""
    return _html(_last(request).report(), "there is no report yet")


@router.get("/v1/page/audit/{generator}/index.html")
def audit(request: Request, generator: str) -> Response:
    """The audit page of a generator of the last retrain, which the report links to."""
    return _html(
        _last(request).audit(generator),
        f"the last retrain has no audit page of {generator!r}",
    )


def _html(html: str, missing: str) -> Response:
    """An HTML page written by a run."""
    if not html:
        raise HTTPException(404, missing)
    headers = {**_SAFE, "Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-store"}
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)


def _last(request: Request) -> LastRetrain:
    found: LastRetrain = request.app.state.last_retrain
    return found


def _answer(request: Request, name: str, headers: dict[str, str]) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404, "there is no such file")
    content, tag = found
    headers = {**_SAFE, **headers, "ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_KINDS[Path(name).suffix], headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """{name: (bytes, ETag)} of the static files."""
    files = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _KINDS}
    return {
        name: (content, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
        for name, content in files.items()
    }
