"""Request and response bodies of the API.

| call | request | response |
|---|---|---|
| POST /v1/recommendations | RecommendationRequest | Recommendations |
| POST /v1/similar-items | SimilarItemsRequest | SimilarItems |
| POST /v1/explanations | ExplanationRequest | Explanations |
| POST /v1/events | EventBatch | EventReceipt |
| GET /v1/model | | ModelReport |
| GET /v1/items?query=&limit= | | ItemList: items by words of the title, most popular first |
| GET /v1/users?limit= | | UserList: some users with a history |
| GET /v1/users/{user_id} | | UserReport: history, attributes and features |
| GET /v1/categories | | CategoryList |

The answers of the GET calls are in `augrec.serving.status_schemas`. Errors are answered
with a `Problem`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from augrec.serving.group_schemas import Group, GroupAnswer, StrategyName
from augrec.serving.schema_base import (
    MAX_EVENTS,
    MAX_EXPLAINED,
    MAX_HISTORY,
    MAX_K,
    MAX_LISTED,
    Answer,
    Body,
    ContextValue,
    Id,
    Label,
    Which,
)


def _example(**values: Any) -> ConfigDict:
    return _examples(values)


def _examples(*bodies: dict[str, Any]) -> ConfigDict:
    examples: list[Any] = list(bodies)
    return ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"examples": examples})


Why = tuple[Literal["item", "attribute", "popularity"], str | None, float]
"""Kind, cause and contribution of a reason, as in `Recommender.explain`."""


class Filters(Body):
    """Which items may be recommended."""

    categories: list[Label] | None = Field(default=None, max_length=100)
    """Only items of at least one of these categories; null: all items."""
    exclude_categories: list[Label] = Field(default_factory=list, max_length=100)
    """No items of these categories."""
    exclude_items: list[Id] = Field(default_factory=list, max_length=MAX_LISTED)
    """None of these items, e.g. because they are out of stock or in the basket."""
    exclude_seen: bool = True
    """Exclude the items of the history."""


class RecommendationRequest(Body):
    """Recommendations for a user, for an anonymous history, for a new user (neither of the two), or
    for a group of them that wants one list."""

    model_config = _examples(
        {"user_id": "42", "k": 5, "filters": {"categories": ["Comedy"]}, "reasons": True},
        {"group": [{"user_id": "42"}, {"history": ["50", "172"]}], "strategy": "least_misery"},
    )

    user_id: Id | None = None
    """Past events, attributes and features of this user are used. Unknown ids are new users."""
    history: list[Id] | None = Field(default=None, max_length=MAX_HISTORY)
    """Item ids, oldest first. With a user_id they follow the user's stored history."""
    group: Group | None = None
    """One to eight members, or the id of a group from the table of groups, in place of user_id and
    history. Items that a member has met, or that the group has chosen, are left out with
    filters.exclude_seen."""
    strategy: StrategyName | None = None
    """How the members' wishes become one list; for a group only. null: what the gate has chosen for
    groups of this kind and size, `average` where nothing was shown to be better."""
    k: int = Field(default=10, ge=1, le=MAX_K)
    """Number of items."""
    filters: Filters = Field(default_factory=Filters)
    context: dict[Label, ContextValue] = Field(default_factory=dict, max_length=50)
    """Attributes of the user or the situation, named as in the users table; they override stored
    values."""
    reasons: bool = False
    """Return the reasons of each recommendation: items of the history, attributes and features of
    the user, popularity."""
    model: Which | None = None
    """Use this model, for a comparison side by side; null: the one the user is assigned to. With a
    named model the answer is not counted in `augrec report ab`."""

    @model_validator(mode="after")
    def _one_kind(self) -> RecommendationRequest:
        if self.group is not None and (self.user_id is not None or self.history is not None):
            raise ValueError("give either a group, or user_id and history")
        return self


class Reason(Answer):
    """A reason of a recommendation."""

    kind: Literal["item", "attribute", "popularity"]
    """item: an item of the history; attribute: an attribute or feature of the user; popularity: the
    item is popular."""
    item_id: str | None = None
    """The item, for kind item only, as is its title."""
    title: str | None = None
    attribute: str | None = None
    """Name of the attribute in the users table, or of the feature; for kind attribute only."""
    members: list[int] | None = None
    """For a group only: the positions, from 0, of the members whose reason it is."""
    contribution: float
    """How much the score would decrease without it. If popularity is the only reason, it may be the
    item's share of all interactions."""


class RecommendedItem(Answer):
    """One item of a ranked list."""

    item_id: str
    position: int
    """1 is the best item."""
    score: float
    """Comparable within this list only."""
    title: str | None = None
    categories: list[str] = []
    price: float | None = None
    reasons: list[Reason] | None = None
    """Strongest first; null if reasons were not requested, empty if no single reason
    contributes."""


class ServedBy(Answer):
    """The model that answered."""

    version: str
    """Number of the version in the registry."""
    recommender: str
    policy: str
    digest: str
    role: Literal["champion", "challenger", "fallback"]
    """fallback: popular items, because no model has been promoted yet."""


class Recommendations(Answer):
    """A ranked list; not empty if the filters allow any item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer_id": "0198c3f2a7d07c5e9b1d2f3a4b5c6d7e",
                    "items": [
                        {
                            "item_id": "173",
                            "position": 1,
                            "score": 0.81,
                            "title": "The Princess Bride",
                            "categories": ["Comedy"],
                            "price": None,
                            "reasons": [
                                {
                                    "kind": "item",
                                    "item_id": "50",
                                    "title": "Star Wars",
                                    "attribute": None,
                                    "contribution": 0.12,
                                }
                            ],
                        }
                    ],
                    "model": {
                        "version": "7",
                        "recommender": "ease",
                        "policy": "none",
                        "digest": "5f1c…",
                        "role": "champion",
                    },
                    "user_known": True,
                    "history_length": 12,
                    "features": "online",
                    "degraded": [],
                }
            ]
        }
    )

    answer_id: str
    """Send it with the events that this answer leads to."""
    items: list[RecommendedItem]
    model: ServedBy
    user_known: bool
    """Whether there is a history."""
    history_length: int
    """Number of items of the history that were used."""
    features: Literal["online", "none", "unavailable"]
    """Source of the user's features; unavailable: the online store did not answer in time."""
    degraded: list[str]
    """What was degraded, also in the header x-augrec-degraded. "features": no features; "reasons":
    no reasons; "popular": popular items instead of the model's; "model": no model has been
    promoted; "unranked": items without an order, because the model knows none that are left."""
    group: GroupAnswer | None = None
    """How the list serves each member of the group; for a group only."""


class SimilarItemsRequest(Body):
    """Items similar to an item."""

    model_config = _example(item_id="50", k=5)

    item_id: Id
    k: int = Field(default=10, ge=1, le=MAX_K)
    filters: Filters = Field(default_factory=Filters)
    model: Which | None = None


class SimilarItems(Answer):
    """Recommendations for a history of this item only; popular items if the item is unknown."""

    answer_id: str
    item_id: str
    item_known: bool
    items: list[RecommendedItem]
    model: ServedBy


class ExplanationRequest(Body):
    """Reasons for recommending given items."""

    model_config = _example(user_id="42", items=["173", "181"], top=3)

    user_id: Id | None = None
    history: list[Id] | None = Field(default=None, max_length=MAX_HISTORY)
    items: list[Id] = Field(min_length=1, max_length=MAX_EXPLAINED)
    top: int = Field(default=3, ge=1, le=20)
    """Maximum number of reasons of a kind per item."""
    context: dict[Label, ContextValue] = Field(default_factory=dict, max_length=50)
    model: Which | None = None


class ExplainedItem(Answer):
    """Reasons of one item."""

    item_id: str
    title: str | None = None
    known: bool
    """Whether the model knows the item."""
    reasons: list[Reason]


class Explanations(Answer):
    """Reasons of each item, in the order of the request."""

    items: list[ExplainedItem]
    model: ServedBy
    history_length: int


class Event(Body):
    """One action of a user."""

    event_id: Id
    """Id chosen by the client; an event sent again with the same id is stored once."""
    user_id: Id
    item_id: Id
    event: Label = "view"
    """One of validation.events in params.yaml."""
    value: float | None = Field(default=None, ge=-1e12, le=1e12)
    """A rating, price or dwell time."""
    timestamp: datetime | None = None
    """ISO 8601, UTC without a time zone; null: now. Times more than five minutes in the future are
    refused."""
    answer_id: Id | None = None
    """Id of the answer that led to the event, which then counts for the model of that answer."""
    position: int | None = Field(default=None, ge=1, le=MAX_K)
    """Position of the item in that answer."""


class EventBatch(Body):
    """Events in order of time."""

    model_config = _example(
        events=[
            {
                "event_id": "b7b1c1f0-6a4e-4c8e-9d1f-0c5f4a1d2e3b",
                "user_id": "42",
                "item_id": "173",
                "event": "click",
                "answer_id": "0198c3f2a7d07c5e9b1d2f3a4b5c6d7e",
                "position": 1,
            }
        ]
    )

    events: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


class EventReceipt(Answer):
    """The events are stored on disk."""

    accepted: int
    """Number of new events."""
    duplicates: int
    """Number of events whose id is stored already; they changed nothing."""


class Problem(Answer):
    """An error: what is wrong, where, and what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "what": "the request is not valid",
                    "where": "k: must be at least 1",
                    "fix": "see /docs",
                }
            ]
        }
    )

    what: str
    where: str = ""
    fix: str = ""

    @model_validator(mode="after")
    def _short(self) -> Problem:
        self.where = self.where[:2000]
        return self
