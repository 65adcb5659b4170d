"""Answers of the GET calls: the state of the service, items and users."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from augrec.serving.schemas import Answer


class Refusal(Answer):
    """A version that may not serve."""

    version: str
    digest: str
    why: str
    at: datetime


class ServedModel(Answer):
    """A model in memory."""

    version: str
    recommender: str
    policy: str
    digest: str
    run_id: str
    commit: str
    role: Literal["champion", "challenger", "fallback"]
    loaded_at: datetime
    origin: Literal["registry", "local copy", "data"]
    n_items: int
    parameters: int
    checks: dict[str, Any]
    """Number of checks it passed before it took over."""
    index: dict[str, Any]
    """How items are searched: {"kind": "exact"}, or an approximate index with its measured
    recall."""


class ModelReport(Answer):
    """The served models, refused versions, and the state of registry and online store."""

    champion: ServedModel | None
    challenger: ServedModel | None
    rollout: dict[str, Any]
    """{"mode": "off" | "shadow" | "split", "challenger_percent": …}."""
    refused: list[Refusal]
    registry: dict[str, Any]
    """{"reachable": …, "checked_at": …, "problem": …}."""
    features: dict[str, Any]
    """The online store: {"state": "starting" | "open" | "unavailable" | "off", …}."""
    swaps: int
    """Number of model changes since the start."""


class ItemCard(Answer):
    """Metadata of an item."""

    item_id: str
    title: str | None = None
    categories: list[str] = []
    price: float | None = None


class ItemList(Answer):
    """A list of items."""

    items: list[ItemCard]


class CategoryList(Answer):
    """Categories with their number of items."""

    categories: list[dict[str, Any]]
    """[{"name": "Comedy", "items": 505}, …], largest first."""


class UserCard(Answer):
    """A user with a history."""

    user_id: str
    history_length: int


class UserList(Answer):
    """A list of users."""

    users: list[UserCard]


class UserReport(Answer):
    """History, attributes and features of a user."""

    user_id: str
    known: bool
    history: list[ItemCard]
    """Newest first, at most 50."""
    history_length: int
    attributes: dict[str, Any]
    features: dict[str, Any] | None
    assigned: Literal["champion", "challenger"]
