"""The calls of the API."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from augrec.serving import schemas as s
from augrec.serving import status_schemas as status
from augrec.serving.item_metadata import NO_METADATA
from augrec.serving.rollout import side
from augrec.serving.service import ResolvedRequest, Service, new_answer_id

B = TypeVar("B", bound=BaseModel)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": s.Problem, "description": "An API key is needed."},
    404: {"model": s.Problem, "description": "What was asked for by name is not there."},
    413: {"model": s.Problem, "description": "The body is too large."},
    415: {"model": s.Problem, "description": "The body is not application/json."},
    422: {"model": s.Problem, "description": "The request is not valid."},
    429: {
        "model": s.Problem,
        "description": "Too many requests at once; see the header retry-after.",
    },
    503: {
        "model": s.Problem,
        "description": "There is nothing to answer from yet, or the disk refuses events.",
    },
}
_HISTORY_SHOWN = 50


posts = APIRouter(prefix="/v1", responses=_PROBLEMS)
router = APIRouter(prefix="/v1", responses=_PROBLEMS)


class Invalid(Exception):
    """A body that is not what it must be."""

    def __init__(self, problems: str) -> None:
        self.problems = problems


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    """The documentation of a body that the call reads itself: twice as fast as having it read."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _read(request: Request, kind: type[B]) -> B:
    # A page of another site can post text without asking first, and events must not come from
    # there: JSON it cannot.
    if (
        request.headers.get("content-type", "").partition(";")[0].strip().lower()
        != "application/json"
    ):
        raise HTTPException(415, "The body must be application/json")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)
        raise Invalid(
            "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in told[:10])
        ) from None


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _headers(service: Service, asked: ResolvedRequest) -> dict[str, str]:
    told = {"x-augrec-model": asked.model.version}
    if asked.degraded:
        told["x-augrec-degraded"] = ", ".join(dict.fromkeys(asked.degraded))
        for what in asked.degraded:
            service.metrics.degraded.labels(what).inc()
    return told


def _shown(
    asked: ResolvedRequest,
    items: list[str],
    scores: list[float],
    reasons: dict[str, list[s.Why]] | None,
) -> list[dict[str, Any]]:
    catalogue = asked.model.catalogue
    shown = []
    for place, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        one = {
            "item_id": item,
            "position": place,
            "score": score,
            **catalogue.details(item),
            "reasons": None,
        }
        if reasons is not None:
            one["reasons"] = _reasons(asked, reasons.get(item, []))
        shown.append(one)
    return shown


def _reasons(asked: ResolvedRequest, reasons: list[s.Why]) -> list[dict[str, Any]]:
    title = asked.model.catalogue.title
    return [
        {
            "kind": kind,
            "item_id": because if kind == "item" else None,
            "title": title(because) if kind == "item" and because else None,
            "attribute": because if kind == "attribute" else None,
            "contribution": contribution,
        }
        for kind, because, contribution in reasons
    ]


@posts.post(
    "/recommendations",
    response_model=s.Recommendations,
    openapi_extra=_body(s.RecommendationRequest),
    tags=["recommend"],
)
async def recommendations(request: Request) -> Response:
    """What to show a user, an anonymous visitor with a history, or a newcomer."""
    service, told = _service(request), await _read(request, s.RecommendationRequest)
    asked = await service.resolve(told.user_id, told.history, told.context, told.model)
    items, scores = await service.recommend(asked, told.filters, told.k)
    reasons = await service.explain(asked, items, 3) if told.reasons else None
    answer_id = new_answer_id()
    kind = "assigned" if told.model is None else "named"
    service.log_answer(asked, answer_id, items, scores, kind=kind, filters=told.filters)
    service.shadow(asked, told.filters, told.k, answer_id)
    answer = {
        "answer_id": answer_id,
        "items": _shown(asked, items, scores, reasons),
        "model": asked.model.named_as(asked.role),
        "user_known": bool(asked.history),
        "history_length": len(asked.history),
        "features": asked.features,
        "degraded": list(dict.fromkeys(asked.degraded)),
    }
    return _json(answer, headers=_headers(service, asked))


@posts.post(
    "/similar-items",
    response_model=s.SimilarItems,
    openapi_extra=_body(s.SimilarItemsRequest),
    tags=["recommend"],
)
async def similar_items(request: Request) -> Response:
    """Items like one item: what somebody would be shown who met only this one."""
    service, told = _service(request), await _read(request, s.SimilarItemsRequest)
    asked = await service.resolve(None, [told.item_id], {}, told.model)
    filters = told.filters.model_copy(
        update={"exclude_items": [*told.filters.exclude_items, told.item_id]}
    )
    items, scores = await service.recommend(asked, filters, told.k)
    answer_id = new_answer_id()
    service.log_answer(asked, answer_id, items, scores, kind="similar", filters=filters)
    answer = {
        "answer_id": answer_id,
        "item_id": told.item_id,
        "item_known": told.item_id in asked.model.places,
        "items": _shown(asked, items, scores, None),
        "model": asked.model.named_as(asked.role),
    }
    return _json(answer, headers=_headers(service, asked))


@posts.post(
    "/explanations",
    response_model=s.Explanations,
    openapi_extra=_body(s.ExplanationRequest),
    tags=["recommend"],
)
async def explanations(request: Request) -> Response:
    """Why these items would be recommended: items of the history, what is known of the user,
    popularity."""
    service, told = _service(request), await _read(request, s.ExplanationRequest)
    asked = await service.resolve(told.user_id, told.history, told.context, told.model)
    reasons = await service.explain(asked, told.items, told.top)
    items = [
        {
            "item_id": item,
            "title": asked.model.catalogue.title(item),
            "known": item in asked.model.places,
            "reasons": _reasons(asked, reasons.get(item, [])),
        }
        for item in told.items
    ]
    answer = {
        "items": items,
        "model": asked.model.named_as(asked.role),
        "history_length": len(asked.history),
    }
    return _json(answer, headers=_headers(service, asked))


@posts.post(
    "/events", response_model=s.EventReceipt, openapi_extra=_body(s.EventBatch), tags=["events"]
)
async def events(request: Request) -> Response:
    """What users did. When this answers, the events are on disk, and the next recommendation
    reflects them."""
    service, told = _service(request), await _read(request, s.EventBatch)
    accepted, duplicates = await service.take_in(told.events)
    return _json({"accepted": accepted, "duplicates": duplicates})


@router.get("/model", response_model=status.ModelReport, tags=["about"])
async def model(request: Request) -> Response:
    """What serves, what was refused and why, and whether registry and online store answer."""
    service = _service(request)
    deployer, features, rollout = service.deployer, service.features, service.config.rollout
    deployment = deployer.deployment
    shown = {}
    for alias, role in (
        ("champion", deployment.champion or deployment.fallback),
        ("challenger", deployment.challenger),
    ):
        shown[alias] = (
            None
            if role is None
            else _served(role, "fallback" if role is deployment.fallback else alias)
        )
    report = status.ModelReport(
        champion=shown["champion"],
        challenger=shown["challenger"],
        rollout={"mode": rollout.mode, "challenger_percent": rollout.challenger_percent},
        refused=list(deployer.refused.values()),
        registry=deployer.registry,
        features={
            "state": features.state,
            "problem": features.problem,
            "writes_waiting": features.waiting_writes(),
        },
        swaps=deployer.swaps,
    )
    return Response(report.model_dump_json(), media_type="application/json")


def _served(model: Any, role: Any) -> status.ServedModel:
    size = model.recommender.describe()
    return status.ServedModel(
        version=model.version,
        recommender=model.recommender.name(),
        policy=model.policy,
        digest=model.digest,
        run_id=model.run_id,
        commit=model.commit,
        role=role,
        loaded_at=model.loaded_at,
        origin=model.origin,
        n_items=len(model.places),
        parameters=size["parameters"],
        checks=model.checks,
        index={"kind": "exact"} if model.index is None else model.index.report,
    )


@router.get("/items", response_model=status.ItemList, tags=["about"])
async def items(
    request: Request, query: str = Query("", max_length=200), limit: int = Query(20, ge=1, le=100)
) -> Response:
    """Items whose title holds the words of the query, popular ones first."""
    deployment = _service(request).deployer.deployment
    if deployment.base is None:
        return _json({"items": []})
    catalogue = deployment.base.catalogue
    found = catalogue.search(query, limit, deployment.base.popularity_of)
    return _json({"items": [catalogue.card(item).model_dump() for item in found]})


@router.get("/categories", response_model=status.CategoryList, tags=["about"])
async def categories(request: Request) -> Response:
    """All categories, the largest first."""
    deployment = _service(request).deployer.deployment
    sizes = [] if deployment.base is None else deployment.base.catalogue.category_sizes()
    return _json({"categories": [{"name": name, "items": n} for name, n in sizes[:1000]]})


@router.get("/users", response_model=status.UserList, tags=["about"])
async def users(request: Request, limit: int = Query(20, ge=1, le=200)) -> Response:
    """Some users of the data with a history, to try the service with."""
    found = _service(request).users.some(limit)
    return _json({"users": [{"user_id": user, "history_length": length} for user, length in found]})


@router.get("/users/{user_id}", response_model=status.UserReport, tags=["about"])
async def user(request: Request, user_id: str) -> Response:
    """What the service knows of a user."""
    if not 0 < len(user_id) <= 256:
        raise Invalid("user_id: must have 1 to 256 characters")
    service = _service(request)
    deployment, state = service.deployer.deployment, await service.users.get(user_id)
    features = await service.features.get(user_id) if service.features.state == "open" else None
    history = list(state.items)
    catalogue = NO_METADATA if deployment.base is None else deployment.base.catalogue
    cards = [catalogue.card(item).model_dump() for item in history[::-1][:_HISTORY_SHOWN]]
    return _json(
        {
            "user_id": user_id,
            "known": bool(history),
            "history": cards,
            "history_length": len(history),
            "attributes": state.attributes,
            "features": features,
            "assigned": side(user_id, service.config.rollout),
        }
    )
