"""What the service is asked and what it answers: every body of the API, checked and with an
example.

| call | asks with | answers with |
|---|---|---|
| POST /v1/recommendations | RecommendationRequest | Recommendations |
| POST /v1/similar-items | SimilarItemsRequest | SimilarItems |
| POST /v1/explanations | ExplanationRequest | Explanations |
| POST /v1/events | EventBatch | EventReceipt |
| GET /v1/model | | ModelReport |
| GET /v1/items?query=&limit= | | ItemList: titles that hold the words, popular ones first |
| GET /v1/users?limit= | | UserList: some users with a history |
| GET /v1/users/{user_id} | | UserReport: what is known of one |
| GET /v1/categories | | CategoryList |

The answers of the GET calls are in `augrec.serving.status_schemas`. Whatever goes wrong is answered with a
`Problem`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_HISTORY = 1_000
MAX_LISTED = 10_000
MAX_K = 500
MAX_EVENTS = 1_000
MAX_EXPLAINED = 100

Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id of a user, item, event or answer: text without control characters."""
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
ContextValue = bool | int | float | Annotated[str, StringConstraints(max_length=256)] | None
Which = Literal["champion", "challenger"]


class Body(BaseModel):
    """Base of all requests: unknown keys are refused, so that a misspelt filter is not passed over
    in silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Answer(BaseModel):
    """Base of all answers: what is said of their fields here is told in the API's documentation
    too."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"examples": [values]})


Why = tuple[Literal["item", "attribute", "popularity"], str | None, float]
"""Kind, because and contribution of a reason, as `Recommender.explain` gives them."""


class Filters(Body):
    """Which items may be recommended."""

    categories: list[Label] | None = Field(default=None, max_length=100)
    """Only items of at least one of these categories; null: of any."""
    exclude_categories: list[Label] = Field(default_factory=list, max_length=100)
    """No item of any of these."""
    exclude_items: list[Id] = Field(default_factory=list, max_length=MAX_LISTED)
    """None of these items: out of stock, in the basket, …"""
    exclude_seen: bool = True
    """Leave out what the user has met already."""


class RecommendationRequest(Body):
    """Ask for recommendations for a user, for an anonymous history, or for a newcomer (neither)."""

    model_config = _example(user_id="42", k=5, filters={"categories": ["Comedy"]}, reasons=True)

    user_id: Id | None = None
    """What the service knows of this user is used: events so far and features. UnknownModel ids are
    newcomers."""
    history: list[Id] | None = Field(default=None, max_length=MAX_HISTORY)
    """Items met, oldest first. With a user_id it comes after what is known of them."""
    k: int = Field(default=10, ge=1, le=MAX_K)
    """How many items."""
    filters: Filters = Field(default_factory=Filters)
    context: dict[Label, ContextValue] = Field(default_factory=dict, max_length=50)
    """Attributes of the user or the moment, named as in the users table; they win over what is
    known."""
    reasons: bool = False
    """Say what carried each recommendation: items of the history, what is known of the user,
    popularity."""
    model: Which | None = None
    """Ask this one, for a comparison side by side; null: the one the user is assigned to. Named
    answers are not counted in `augrec report ab`."""


class Reason(Answer):
    """What carried a recommendation."""

    kind: Literal["item", "attribute", "popularity"]
    """item: one of the history; attribute: something known of the user, a feature too; popularity:
    what everybody takes."""
    item_id: str | None = None
    """Which item; of that kind only, and so is its title."""
    title: str | None = None
    attribute: str | None = None
    """The name of the attribute, as in the users table, or of the feature; of that kind only."""
    contribution: float
    """What the score would lose without it; where popularity is the only reason it may be the
    item's share of all interactions."""


class RecommendedItem(Answer):
    """One place of the list."""

    item_id: str
    position: int
    """1 is the best."""
    score: float
    """Comparable within this list only."""
    title: str | None = None
    categories: list[str] = []
    price: float | None = None
    reasons: list[Reason] | None = None
    """Only where reasons were asked for, the strongest first; empty: nothing of it all carried the
    item by itself."""


class ServedBy(Answer):
    """Which model answered."""

    version: str
    """Its number in the registry."""
    recommender: str
    policy: str
    digest: str
    role: Literal["champion", "challenger", "fallback"]
    """fallback: no model has been promoted yet; popular items of the data serve."""


class Recommendations(Answer):
    """A ranked list; never empty while an item is left that the filters allow."""

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
    """Send it back with the events this answer leads to."""
    items: list[RecommendedItem]
    model: ServedBy
    user_known: bool
    """Whether the user had a history."""
    history_length: int
    """So many items of the history were used."""
    features: Literal["online", "none", "unavailable"]
    """Where the user's features came from; unavailable: the online store did not answer in time."""
    degraded: list[str]
    """What was missing: "features", "reasons", "popular"; also in the header x-augrec-degraded."""


class SimilarItemsRequest(Body):
    """Ask for items like one item."""

    model_config = _example(item_id="50", k=5)

    item_id: Id
    k: int = Field(default=10, ge=1, le=MAX_K)
    filters: Filters = Field(default_factory=Filters)
    model: Which | None = None


class SimilarItems(Answer):
    """Items that who met only this one would be recommended; popular ones where the item is
    unknown."""

    answer_id: str
    item_id: str
    item_known: bool
    items: list[RecommendedItem]
    model: ServedBy


class ExplanationRequest(Body):
    """Ask why these items would be recommended."""

    model_config = _example(user_id="42", items=["173", "181"], top=3)

    user_id: Id | None = None
    history: list[Id] | None = Field(default=None, max_length=MAX_HISTORY)
    items: list[Id] = Field(min_length=1, max_length=MAX_EXPLAINED)
    top: int = Field(default=3, ge=1, le=20)
    """At most so many reasons of a kind for each."""
    context: dict[Label, ContextValue] = Field(default_factory=dict, max_length=50)
    model: Which | None = None


class ExplainedItem(Answer):
    """Why one item."""

    item_id: str
    title: str | None = None
    known: bool
    """Whether the model knows the item."""
    reasons: list[Reason]


class Explanations(Answer):
    """Why each item, in the order asked."""

    items: list[ExplainedItem]
    model: ServedBy
    history_length: int


class Event(Body):
    """One thing a user did."""

    event_id: Id
    """Yours; an event sent again with the same id is kept once."""
    user_id: Id
    item_id: Id
    event: Label = "view"
    """One of those listed under validation.events in params.yaml."""
    value: float | None = Field(default=None, ge=-1e12, le=1e12)
    """A rating, price or dwell time."""
    timestamp: datetime | None = None
    """ISO 8601, UTC where no zone is given; null: now. Times more than five minutes ahead are
    refused."""
    answer_id: Id | None = None
    """The answer that led here: the event then counts for the model that gave it."""
    position: int | None = Field(default=None, ge=1, le=MAX_K)
    """The place in that answer."""


class EventBatch(Body):
    """Events, in the order they happened."""

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
    """Said after the events are on disk."""

    accepted: int
    """New ones."""
    duplicates: int
    """Ids that were known already; nothing was changed for them."""


class Problem(Answer):
    """What is wrong and what to do."""

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
