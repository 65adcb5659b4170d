"""The page at `GET /`: what the platform does, to look at and to try."""

from __future__ import annotations

from fastapi import FastAPI


def attach(app: FastAPI) -> None:
    """Give an application the page and what it needs."""
    from augrec.serving.page.retrain import LastRetrain
    from augrec.serving.page.routes import router

    app.state.last_retrain = LastRetrain()
    app.include_router(router)
