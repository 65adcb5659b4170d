"""The HTTP application: opens its parts, adds endpoints and middleware, and answers errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pydantic
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

import augrec
from augrec.core.errors import AugrecError, InputError, TransientError
from augrec.core.settings import LOOPBACK, Settings
from augrec.data.served_events import FILE as EVENTS_FILE
from augrec.features.live_features import LiveFeatures, copy_definitions, find_definitions
from augrec.features.schema import TYPES
from augrec.serving import page, schemas
from augrec.serving.answer_log import FOLDER as ANSWERS_FOLDER
from augrec.serving.answer_log import AnswerLog
from augrec.serving.batching import Ranker
from augrec.serving.config import ServingConfig, read_config
from augrec.serving.deployer import Deployer
from augrec.serving.event_intake import EventIntake
from augrec.serving.event_log import EventLog
from augrec.serving.fast_path import FastPath
from augrec.serving.live_groups import Followers
from augrec.serving.metrics import Metrics
from augrec.serving.online_features import OnlineFeatures
from augrec.serving.poller import Poller
from augrec.serving.request_limiter import RequestLimiter
from augrec.serving.routes import InvalidRequest, posts, router
from augrec.serving.security import ApiKeys
from augrec.serving.service import NothingToServe, Service, UnknownGroup, UnknownModel
from augrec.serving.user_states import UserStates
from augrec.serving.user_store import UserStore

log = logging.getLogger(__name__)

_copying = threading.Lock()
_WITH_ID = re.compile(r"^/v1/users/.+")
_INVALID, _INVALID_FIX = "the request is not valid", "see /docs for the format"
_NOT_READY, _NOT_READY_FIX = "there is no model and no data yet", "import data or promote a model"
DESCRIPTION = """\
Recommendations from the registry's *champion*. Events count immediately.

The header `x-augrec-model` is the model version of an answer, `x-augrec-degraded` lists what is
missing in it. If API keys are enabled, calls below /v1 need the header `x-api-key`."""


@dataclass(frozen=True)
class Parts:
    """The parts that are opened at the start and closed at the end."""

    config: ServingConfig
    service: Service
    intake: EventIntake
    metrics: Metrics
    poller: Poller

    @property
    def ready(self) -> bool:
        """Whether local copies are loaded and there is a model or a fallback."""
        return self.poller.ready and self.service.deployer.deployment.base is not None


def create_app(settings: Settings, keys: ApiKeys | None = None) -> FastAPI:
    """The application of one project.

    Args:
        settings: of the project.
        keys: valid API keys; None: no authentication.

    Raises:
        ConfigError: params.yaml is invalid.
    """
    parts = _open(settings)
    app = FastAPI(
        title="augrec",
        version=augrec.__version__,
        description=DESCRIPTION,
        lifespan=lambda app: _running(parts),
        docs_url=None,
        redoc_url=None,
    )
    app.state.service, app.state.intake, app.state.parts = parts.service, parts.intake, parts
    app.include_router(posts)
    app.include_router(router)
    _add_health(app, parts)
    _add_error_handlers(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    page.attach(app)
    if parts.config.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=parts.config.allow_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-augrec-model", "x-augrec-degraded", "retry-after"],
        )
    calls: Any = {
        route.path: route.endpoint for route in posts.routes if isinstance(route, APIRoute)
    }
    app.add_middleware(FastPath, calls=calls, problem=_error_response)
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    app.add_middleware(
        RequestLimiter,
        keys=keys or ApiKeys([]),
        metrics=parts.metrics,
        max_in_flight=parts.config.max_in_flight,
        max_body=parts.config.max_body_kb * 1024,
        body_timeout_s=parts.config.body_timeout_s,
        hosts=_valid_hosts(settings, parts.config, keys),
        path_of=lambda path: _metric_path(path, paths),
    )
    return app


def _valid_hosts(
    settings: Settings, config: ServingConfig, keys: ApiKeys | None
) -> frozenset[str] | None:
    """Host names that requests may use; None: any, because API keys protect the service."""
    if keys is not None and len(keys):
        return None
    return LOOPBACK | {settings.host.lower()} | {name.lower() for name in config.allow_hosts}


def _open(settings: Settings) -> Parts:
    config, prepare, event_names = read_config(settings.home)
    metrics = Metrics()
    folder = settings.var / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    events = EventLog(settings.var / EVENTS_FILE)
    ranker = Ranker(config.max_batch, config.max_scores, metrics.batch.observe)
    max_history = prepare.split.max_history
    users = UserStates(
        UserStore(None),
        events,
        prepare.positive,
        max_users=config.max_users,
        max_history=max_history,
    )
    deployer = Deployer(
        settings.home / "data" / "raw",
        folder,
        config,
        prepare.positive,
        metrics.count_deployment,
        users.replay,
    )
    features = OnlineFeatures(
        (lambda: _open_features(settings, deployer, ranker)) if config.features else None,
        timeout_s=config.features_timeout_s,
        max_age_s=config.features_max_age_s,
        max_users=config.max_users,
    )
    answers = AnswerLog(settings.var / ANSWERS_FOLDER, config.answers, lost=metrics.unlogged.inc)
    service = Service(
        config,
        deployer=deployer,
        ranker=ranker,
        users=users,
        events=events,
        features=features,
        answers=answers,
        metrics=metrics,
    )
    intake = EventIntake(
        deployer=deployer,
        users=users,
        events=events,
        features=features,
        followers=Followers(ranker),
        metrics=metrics,
        event_names=event_names,
    )
    poller = Poller(
        service,
        home=settings.home,
        var=settings.var,
        positive=prepare.positive,
        max_history=max_history,
    )
    return Parts(config, service, intake, metrics, poller)


def _open_features(settings: Settings, deployer: Deployer, ranker: Ranker) -> LiveFeatures:
    """Open the online store with the definitions of the champion's run, or with the copy of the
    last ones."""
    champion = deployer.deployment.champion
    found = find_definitions(settings.home, settings.runs, champion.run_id if champion else "")
    copy = settings.var / "serving" / "features"
    with _copying:  # the reading and the writing thread open the store at the same time
        if found is not None:
            copy_definitions(found, copy)
    live = LiveFeatures(copy, online_store=settings.online_store, registry=settings.feast_registry)
    ranker.attribute_types = {
        **ranker.attribute_types,
        **{f"user__{name}": TYPES[one["type"]] for name, one in live.schema.items()},
    }
    return live


@contextlib.asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    service = parts.service
    parts.poller.start()
    try:
        yield
    finally:
        parts.poller.stop()
        opened = (service.features, service.ranker, service.users, service.events, service.answers)
        for part in opened:
            await asyncio.to_thread(part.close)


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """The process is running."""
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"], responses={503: {"model": schemas.Problem}})
    async def ready() -> Response:
        """The service can answer requests."""
        deployment = parts.service.deployer.deployment
        if not parts.ready or deployment.base is None:
            return _problem(503, _NOT_READY, fix=_NOT_READY_FIX)
        return JSONResponse({"status": "ready", "version": deployment.base.version})

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(
            parts.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _add_error_handlers(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        response = _error_response(error)
        if response is None:
            raise error
        return response

    for kind in (
        InvalidRequest,
        RequestValidationError,
        HTTPException,
        UnknownGroup,
        UnknownModel,
        NothingToServe,
        AugrecError,
    ):
        app.add_exception_handler(kind, answer)


def _error_response(error: Exception) -> Response | None:
    """The response to an error; None for an unexpected one."""
    match error:
        case InvalidRequest():
            return _problem(422, _INVALID, error.problems, _INVALID_FIX)
        case RequestValidationError():
            problems = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10]
            )
            return _problem(422, _INVALID, problems, _INVALID_FIX)
        case HTTPException():
            return _problem(
                error.status_code, str(error.detail).lower(), headers=dict(error.headers or {})
            )
        case UnknownGroup():
            return _problem(404, str(error), fix="give the members themselves as a list")
        case UnknownModel():
            return _problem(404, str(error), fix="GET /v1/model lists the served models")
        case NothingToServe():
            return _problem(503, _NOT_READY, fix=_NOT_READY_FIX, headers={"retry-after": "5"})
        case InputError():
            return _problem(422, error.what, error.where, error.fix)
        case AugrecError():
            status = 503 if isinstance(error, TransientError) else 500
            return _problem(status, error.what, error.where, error.fix, {"retry-after": "1"})
    return None


def _problem(
    status: int, what: str, where: str = "", fix: str = "", headers: dict[str, str] | None = None
) -> Response:
    return JSONResponse(
        schemas.Problem(what=what, where=where, fix=fix).model_dump(), status, headers
    )


def _metric_path(path: str, paths: set[str]) -> str:
    """The path under which a request is counted: one for each endpoint, so that metrics stay
    small."""
    if path in paths:
        return path
    return "/v1/users/{user_id}" if _WITH_ID.match(path) else "other"


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the bodies that the endpoints parse themselves."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        known = document.setdefault("components", {}).setdefault("schemas", {})
        for kind in (
            schemas.RecommendationRequest,
            schemas.SimilarItemsRequest,
            schemas.ExplanationRequest,
            schemas.EventBatch,
        ):
            schema = pydantic.TypeAdapter(kind).json_schema(
                ref_template="#/components/schemas/{model}"
            )
            known.update(schema.pop("$defs", {}))
        app.openapi_schema = document
    return app.openapi_schema
