"""Request and response bodies of recommendations for a group of people."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from augrec.groups.base import find, names
from augrec.serving.schema_base import MAX_HISTORY, Answer, Body, Id

MAX_GROUP = 8
STRATEGIES = tuple(name for name in names() if not find(name).learns)
"""Strategies that need no choices of groups to learn from."""
LEARNED = tuple(name for name in names() if find(name).learns)
"""Those that only a version can use which has learned from them."""


def _known(name: str) -> str:
    if name not in STRATEGIES + LEARNED:
        raise ValueError(f"must be one of {', '.join(STRATEGIES + LEARNED)}")
    return name


StrategyName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": [*STRATEGIES, *LEARNED]})
]


class GroupMember(Body):
    """One person of a group: a user, an anonymous history, both, or a new user (neither)."""

    user_id: Id | None = None
    """Past events, attributes and features of this user are used. Unknown ids are new users."""
    history: list[Id] | None = Field(default=None, max_length=MAX_HISTORY)
    """Item ids, oldest first. With a user_id they follow the user's stored history."""


def different(members: list[GroupMember]) -> list[GroupMember]:
    """The members, if nobody is among them twice.

    Raises:
        ValueError: a user is.
    """
    ids = [one.user_id for one in members if one.user_id is not None]
    twice = sorted({user for user in ids if ids.count(user) > 1})
    if twice:
        raise ValueError(f"a user is in the group twice: {', '.join(twice)[:200]}")
    return members


_Members = Annotated[
    list[GroupMember], Field(min_length=1, max_length=MAX_GROUP), AfterValidator(different)
]
Group = Annotated[
    Annotated[_Members, Tag("members")] | Annotated[Id, Tag("id")],
    Discriminator(lambda value: "id" if isinstance(value, str) else "members"),
]
"""The members, or the id of a group that the served version knows."""


class MemberAnswer(Answer):
    """How the list serves one member."""

    user_id: str | None
    known: bool
    """Whether there is a history; a member without one is served what is popular."""
    history_length: int
    satisfaction: float
    """1: the list is as good for the member as one made for them alone; 0: it holds only what they
    would like least."""


class GroupAnswer(Answer):
    """How the list serves the group."""

    group_id: str | None
    """The id that was asked for; null: the members were given."""
    strategy: str
    """The one that was asked for, or that the gate has chosen for groups of this kind and size."""
    members: list[MemberAnswer]
    """In the order of the request; of a group id in the order of their ids."""
    worst_off: int
    """The position, from 0, of the member whom the list serves least; the first of several."""
