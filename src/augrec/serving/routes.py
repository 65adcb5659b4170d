"""The endpoints of the API."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from augrec.serving import schemas as s
from augrec.serving import status_schemas as status
from augrec.serving.group_lists import NOTHING_CHOSEN, strategy_for
from augrec.serving.group_schemas import GroupMember
from augrec.serving.item_metadata import NO_METADATA
from augrec.serving.model import Model, Role
from augrec.serving.rollout import side
from augrec.serving.service import ResolvedRequest, Service, UnknownGroup, new_answer_id

B = TypeVar("B", bound=BaseModel)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": s.Problem, "description": "An API key is required."},
    404: {"model": s.Problem, "description": "The named model or group does not exist."},
    413: {"model": s.Problem, "description": "The body is too large."},
    415: {"model": s.Problem, "description": "The body is not application/json."},
    422: {"model": s.Problem, "description": "The request is not valid."},
    429: {
        "model": s.Problem,
        "description": "Too many concurrent requests; see the header retry-after.",
    },
    503: {
        "model": s.Problem,
        "description": "No model or data yet, or events cannot be stored.",
    },
}
_HISTORY_SHOWN = 50


posts = APIRouter(prefix="/v1", responses=_PROBLEMS)
router = APIRouter(prefix="/v1", responses=_PROBLEMS)


class InvalidRequest(Exception):
    """A body or a parameter is not valid."""

    def __init__(self, problems: str) -> None:
        self.problems = problems


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI documentation of a body that the endpoint parses itself, which is twice as
    fast."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _read(request: Request, kind: type[B]) -> B:
    # pages of other sites may send text without a CORS preflight, but not JSON
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(415, "The body must be application/json")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidRequest(
            "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors[:10])
        ) from None


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _headers(service: Service, resolved: ResolvedRequest) -> dict[str, str]:
    headers = {"x-augrec-model": resolved.model.version}
    if resolved.degraded:
        headers["x-augrec-degraded"] = ", ".join(dict.fromkeys(resolved.degraded))
        for what in resolved.degraded:
            service.metrics.degraded.labels(what).inc()
    return headers


def _shown(
    resolved: ResolvedRequest,
    items: list[str],
    scores: list[float],
    reasons: dict[str, list[s.Why]] | None,
) -> list[dict[str, Any]]:
    metadata = resolved.model.metadata
    shown = []
    for place, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        one = {
            "item_id": item,
            "position": place,
            "score": score,
            **metadata.details(item),
            "reasons": None,
        }
        if reasons is not None:
            one["reasons"] = _reasons(resolved, reasons.get(item, []))
        shown.append(one)
    return shown


def _reasons(resolved: ResolvedRequest, reasons: list[s.Why]) -> list[dict[str, Any]]:
    title = resolved.model.metadata.title
    return [
        {
            "kind": kind,
            "item_id": cause if kind == "item" else None,
            "title": title(cause) if kind == "item" and cause else None,
            "attribute": cause if kind == "attribute" else None,
            "contribution": contribution,
        }
        for kind, cause, contribution in reasons
    ]


@posts.post(
    "/recommendations",
    response_model=s.Recommendations,
    openapi_extra=_body(s.RecommendationRequest),
    tags=["recommend"],
)
async def recommendations(request: Request) -> Response:
    """Recommend items to a user, to an anonymous visitor with a history, to a new user, or to a
    group of them."""
    service, body = _service(request), await _read(request, s.RecommendationRequest)
    if body.group is not None:
        return await _to_group(service, body, body.group)
    resolved = await service.resolve(body.user_id, body.history, body.context, body.model)
    items, scores = await service.recommend(resolved, body.filters, body.k)
    reasons = await service.explain(resolved, items, 3) if body.reasons else None
    answer_id = new_answer_id()
    kind = "assigned" if body.model is None else "named"
    service.log_answer(resolved, answer_id, items, scores, kind=kind, filters=body.filters)
    service.shadow(resolved, body.filters, body.k, answer_id)
    answer = {
        "answer_id": answer_id,
        "items": _shown(resolved, items, scores, reasons),
        "model": resolved.model.served_by(resolved.role),
        "user_known": bool(resolved.history),
        "history_length": len(resolved.history),
        "features": resolved.features,
        "degraded": list(dict.fromkeys(resolved.degraded)),
    }
    return _json(answer, headers=_headers(service, resolved))


async def _to_group(
    service: Service, body: s.RecommendationRequest, asked: list[GroupMember] | str
) -> Response:
    """One list for all members; they are not assigned to the challenger."""
    whole = await service.resolve(None, None, body.context, body.model)
    group, own = asked, NOTHING_CHOSEN
    if isinstance(group, str):
        if group not in whole.model.groups.members:
            raise UnknownGroup(f"version {whole.model.version} knows no group {group!r}")
        own = whole.model.groups.chosen[group]
        group = [GroupMember(user_id=user) for user in whole.model.groups.members[group]]
    strategy = strategy_for(whole.model, body.strategy, own, len(group))
    members = [await service.resolve(one.user_id, one.history, body.context, None) for one in group]
    for one in members:
        one.model, one.role = whole.model, whole.role
    first = members[0]
    found = await service.recommend_group(
        members, strategy, body.filters, body.k, own=own, reasons=body.reasons
    )
    whole.degraded = list(dict.fromkeys(what for one in members for what in one.degraded))
    if body.reasons and found.reasons is None and found.items:
        whole.degraded.append("reasons")
    whole.history = list(dict.fromkeys(item for one in members for item in one.history))
    answer_id = new_answer_id()
    service.log_answer(
        whole, answer_id, found.items, found.scores, kind="group", filters=body.filters
    )
    shown = _shown(whole, found.items, found.scores, None)
    if body.reasons:
        for item, reasons in zip(shown, found.reasons or [[]] * len(shown), strict=True):
            item["reasons"] = _reasons(whole, [why for why, _ in reasons])
            for reason, (_, who) in zip(item["reasons"], reasons, strict=True):
                reason["members"] = who
    sources = {one.features for one in members}
    answer = {
        "answer_id": answer_id,
        "items": shown,
        "model": whole.model.served_by(first.role),
        "user_known": any(one.history for one in members),
        "history_length": len(whole.history),
        "features": next(one for one in ("unavailable", "online", "none") if one in sources),
        "degraded": whole.degraded,
        "group": {
            "group_id": asked if isinstance(asked, str) else None,
            "strategy": strategy.name(),
            "members": [
                {
                    "user_id": one.user_id,
                    "known": bool(one.history),
                    "history_length": len(one.history),
                    "satisfaction": content,
                }
                for one, content in zip(members, found.satisfaction, strict=True)
            ],
            "worst_off": found.satisfaction.index(min(found.satisfaction)),
        },
    }
    return _json(answer, headers=_headers(service, whole))


@posts.post(
    "/similar-items",
    response_model=s.SimilarItems,
    openapi_extra=_body(s.SimilarItemsRequest),
    tags=["recommend"],
)
async def similar_items(request: Request) -> Response:
    """Items similar to an item: the recommendations for a history of this item only."""
    service, body = _service(request), await _read(request, s.SimilarItemsRequest)
    resolved = await service.resolve(None, [body.item_id], {}, body.model)
    filters = body.filters.model_copy(
        update={"exclude_items": [*body.filters.exclude_items, body.item_id]}
    )
    items, scores = await service.recommend(resolved, filters, body.k)
    answer_id = new_answer_id()
    service.log_answer(resolved, answer_id, items, scores, kind="similar", filters=filters)
    answer = {
        "answer_id": answer_id,
        "item_id": body.item_id,
        "item_known": body.item_id in resolved.model.places,
        "items": _shown(resolved, items, scores, None),
        "model": resolved.model.served_by(resolved.role),
    }
    return _json(answer, headers=_headers(service, resolved))


@posts.post(
    "/explanations",
    response_model=s.Explanations,
    openapi_extra=_body(s.ExplanationRequest),
    tags=["recommend"],
)
async def explanations(request: Request) -> Response:
    """Reasons for recommending given items: items of the history, attributes and features of the
    user, popularity."""
    service, body = _service(request), await _read(request, s.ExplanationRequest)
    resolved = await service.resolve(body.user_id, body.history, body.context, body.model)
    reasons = await service.explain(resolved, body.items, body.top)
    items = [
        {
            "item_id": item,
            "title": resolved.model.metadata.title(item),
            "known": item in resolved.model.places,
            "reasons": _reasons(resolved, reasons.get(item, [])),
        }
        for item in body.items
    ]
    answer = {
        "items": items,
        "model": resolved.model.served_by(resolved.role),
        "history_length": len(resolved.history),
    }
    return _json(answer, headers=_headers(service, resolved))


@posts.post(
    "/events", response_model=s.EventReceipt, openapi_extra=_body(s.EventBatch), tags=["events"]
)
async def events(request: Request) -> Response:
    """Store what users did. When this returns, the events are on disk and count for the next
    recommendation."""
    body, intake = await _read(request, s.EventBatch), request.app.state.intake
    accepted, duplicates = await intake.add(body.events)
    return _json({"accepted": accepted, "duplicates": duplicates})


@router.get("/model", response_model=status.ModelReport, tags=["about"])
async def model(request: Request) -> Response:
    """The served models, refused versions, and the state of registry and online store."""
    service = _service(request)
    deployer, features, rollout = service.deployer, service.features, service.config.rollout
    deployment = deployer.deployment
    base, challenger = deployment.base, deployment.challenger
    role: Role = "fallback" if deployment.champion is None else "champion"
    report = status.ModelReport(
        champion=None if base is None else _served(base, role),
        challenger=None if challenger is None else _served(challenger, "challenger"),
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


def _served(model: Model, role: Role) -> status.ServedModel:
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
    """Items whose title contains all words of the query, most popular first; mistyped words are
    read as those that are spelt alike."""
    deployment = _service(request).deployer.deployment
    if deployment.base is None:
        return _json({"items": []})
    metadata = deployment.base.metadata
    found = metadata.search(query, limit, deployment.base.popularity_of)
    return _json({"items": [metadata.card(item).model_dump() for item in found]})


@router.get("/categories", response_model=status.CategoryList, tags=["about"])
async def categories(request: Request) -> Response:
    """Categories with their number of items, largest first; at most 1,000."""
    deployment = _service(request).deployer.deployment
    sizes = [] if deployment.base is None else deployment.base.metadata.category_sizes()
    return _json({"categories": [{"name": name, "items": n} for name, n in sizes[:1000]]})


@router.get("/users", response_model=status.UserList, tags=["about"])
async def users(request: Request, limit: int = Query(20, ge=1, le=200)) -> Response:
    """Some users with a history, to try the service with."""
    found = _service(request).users.some(limit)
    return _json({"users": [{"user_id": user, "history_length": length} for user, length in found]})


@router.get("/users/{user_id}", response_model=status.UserReport, tags=["about"])
async def user(request: Request, user_id: str) -> Response:
    """History, attributes and features of a user."""
    if not 0 < len(user_id) <= 256:
        raise InvalidRequest("user_id: must have 1 to 256 characters")
    service = _service(request)
    deployment, state = service.deployer.deployment, await service.users.get(user_id)
    features = await service.features.get(user_id) if service.features.state == "open" else None
    history = list(state.items)
    metadata = NO_METADATA if deployment.base is None else deployment.base.metadata
    cards = [metadata.card(item).model_dump() for item in history[::-1][:_HISTORY_SHOWN]]
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
