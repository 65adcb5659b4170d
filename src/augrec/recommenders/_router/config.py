"""The options of the router."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from augrec.core.config import BaseConfig


class RouterConfig(BaseConfig):
    """Who takes part, and how carefully the choice is made."""

    members: list[dict[str, dict[str, Any]]] = [
        {"popularity": {}},
        {"popularity": {"half_life_days": 7}},
        {"demographics": {}},
        {"content": {"max_new_items": 1000}},
        {"item_knn": {}},
        {"ease": {}},
        {"ials": {}},
        {"multvae": {}},
        {"sasrec": {}},
    ]
    """Recommenders with their configs, the simplest first: a later one must be better by more than
    noise. Keys not given are as the recommender's class has them. One that cannot learn from the
    data at hand, such as content without an items table, is left out."""
    cutoff: int = Field(10, ge=1)
    """They are judged by NDCG at this length."""
    caution: float = Field(0.5, ge=0)
    """Differences within so many standard errors are noise."""
    blend_weights: list[float] = [0.25, 0.5, 0.75]
    """Shares of a further member that are tried beside the rest; empty: no blends."""
    max_blended: int = Field(3, ge=1)
    """At most so many members are blended in a slice; 1: no blends."""
    new_item_shares: list[float] = [0.0, 0.05, 0.1, 0.2]
    """Shares of a list for items that nobody has met yet, ranked by a member that has them all,
    such as content. Each slice gets the first share, and the first such member, that no other beats
    by more than noise on validation users; the first of all where these are too few. 0: they stand
    where the members that serve place them."""
    min_users: int = Field(30, ge=2)
    """A slice with fewer validation users is served as if there were none."""
    max_cases: int = Field(1000, ge=1)
    """At most so many validation cases of a slice are looked at."""

    @field_validator("members")
    @classmethod
    def _one_name_each(
        cls, members: list[dict[str, dict[str, Any]]]
    ) -> list[dict[str, dict[str, Any]]]:
        if not members or any(len(member) != 1 for member in members):
            raise ValueError(
                "each entry is one recommender: {name: {its config}}, and there must be one"
            )
        if any("router" in member for member in members):
            raise ValueError("a router cannot hold a router")
        return members

    @field_validator("new_item_shares")
    @classmethod
    def _bounded(cls, shares: list[float]) -> list[float]:
        if not shares or any(not 0 <= share < 1 for share in shares):
            raise ValueError("shares of a list are at least 0 and below 1, and there must be one")
        return shares

    @field_validator("blend_weights")
    @classmethod
    def _shares(cls, weights: list[float]) -> list[float]:
        if any(not 0 < weight < 1 for weight in weights):
            raise ValueError("shares lie between 0 and 1")
        return weights
