"""The page at `GET /`: try recommendations, and see the last retrain."""

from __future__ import annotations

from fastapi import FastAPI


def attach(app: FastAPI) -> None:
    """Add the page to an application."""
    from augrec.serving.page.retrain import LastRetrain
    from augrec.serving.page.routes import router

    app.state.last_retrain = LastRetrain()
    app.include_router(router)
