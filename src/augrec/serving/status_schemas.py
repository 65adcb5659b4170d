"""What the service says about itself, the items and the users: the answers of its GET calls."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from augrec.serving.schemas import Answer


class Refusal(Answer):
    """A version that is kept out."""

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
    """What it was asked before it took over."""
    index: dict[str, Any]
    """How the best items are found: {"kind": "exact"}, or an approximate index with its measured
    recall."""


class ModelReport(Answer):
    """What serves, what was refused, and whether the registry answers."""

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
    """How often a new champion took over since the start."""


class ItemCard(Answer):
    """What the items table says of an item."""

    item_id: str
    title: str | None = None
    categories: list[str] = []
    price: float | None = None


class ItemList(Answer):
    """Items found."""

    items: list[ItemCard]


class CategoryList(Answer):
    """All categories, with the number of items."""

    categories: list[dict[str, Any]]
    """[{"name": "Comedy", "items": 505}, …], the largest first."""


class UserCard(Answer):
    """A user with a history."""

    user_id: str
    history_length: int


class UserList(Answer):
    """Some users with a history."""

    users: list[UserCard]


class UserReport(Answer):
    """What the service knows of a user."""

    user_id: str
    known: bool
    history: list[ItemCard]
    """Newest first, at most 50."""
    history_length: int
    attributes: dict[str, Any]
    features: dict[str, Any] | None
    assigned: Literal["champion", "challenger"]
