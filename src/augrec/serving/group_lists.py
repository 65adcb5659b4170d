"""One list for the members of a group, how content each is with it, and what of theirs explains
it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from augrec.core.errors import InputError
from augrec.data.stored_groups import AD_HOC, PERSISTENT
from augrec.groups.base import Strategy, find
from augrec.groups.scores import satisfaction, score_group
from augrec.groups.strategies.attention import Attention
from augrec.serving.group_schemas import LEARNED, STRATEGIES
from augrec.serving.model import Model
from augrec.serving.ranking import Query, attribute_table, positions
from augrec.serving.schemas import Why

SharedWhy = tuple[Why, list[int]]
"""A reason and the members who share it, positions from 0."""
NOTHING_CHOSEN: Sequence[str] = ()
_REASONS = 3


class GroupList(NamedTuple):
    """A list for a group.

    Attributes:
        items, scores: best first.
        satisfaction: of each member, 0 … 1.
        reasons: of each item, those of most members first; None: they were not wanted.
    """

    items: list[str]
    scores: list[float]
    satisfaction: list[float]
    reasons: list[list[SharedWhy]] | None


def group_list(
    model: Model,
    strategy: Strategy,
    members: Sequence[Query],
    attribute_types: dict[str, pl.DataType],
    *,
    own: Sequence[str] = (),
    reasons: bool,
) -> GroupList:
    """The list that a strategy makes of the members' scores.

    Args:
        model: scores items.
        strategy: see `strategy_for`.
        members: one query each, with the same filters.
        attribute_types: {attribute of users: its type}.
        own: what the group itself has chosen, oldest first.
        reasons: whether to explain it.

    Raises:
        InputError: there is no member.
    """
    if not members:
        raise InputError("the group has no members", where="group", fix="give at least one")
    features = attribute_table([one.attributes for one in members], attribute_types)
    histories = [list(one.history) for one in members]
    scores = score_group(
        model.recommender,
        histories,
        own,
        user_features=features,
        allowed=_allowed(model, members, own),
    )
    places, values = strategy.choose(scores, members[0].k)
    content = satisfaction(scores.relevance() * scores.allowed, places)
    items = model.ids[places].tolist()
    why = _reasons(model, histories, items, features) if reasons and items else None
    return GroupList(items, values.tolist(), content.tolist(), why)


def strategy_for(model: Model, name: str | None, own: Sequence[str], n: int) -> Strategy:
    """A strategy by its name, for n members and what they have chosen together; None: the one that
    serves groups of this kind and size.

    Raises:
        InputError: it must be learned, and this version has learned nothing for such groups.
    """
    kind = PERSISTENT if own else AD_HOC
    chosen = name or model.groups.serves(kind, n)
    if chosen not in LEARNED:
        return find(chosen)()
    if kind not in model.groups.weights:
        raise InputError(
            f"{chosen} has not been learned from what groups chose by version {model.version}; "
            f"take one of {', '.join(STRATEGIES)}",
            where="strategy",
            fix="import interactions of groups and retrain, or take another strategy",
        )
    return Attention.of_weights(model.groups.weights[kind])


def _allowed(model: Model, members: Sequence[Query], own: Sequence[str]) -> np.ndarray:
    first = members[0]
    allowed = np.ones(len(model.places), np.bool_)
    if first.among is not None:
        allowed[:] = False
        allowed[first.among] = True
    if first.exclude_seen:
        for one in members:
            allowed[positions(model.places, one.history)] = False
        allowed[positions(model.places, list(own))] = False
    allowed[first.exclude] = False
    return allowed


def _reasons(
    model: Model, histories: list[list[str]], items: list[str], features: pl.DataFrame | None
) -> list[list[SharedWhy]]:
    """The members' reasons of each item, those of the same cause as one: what most members share
    comes first."""
    table = model.recommender.explain(
        pl.Series(histories, dtype=pl.List(pl.String)),
        np.array([items] * len(histories), dtype=str),
        user_features=features,
        top=2 * _REASONS,
    )
    shared: dict[str, dict[tuple[Any, str | None], dict[str, Any]]] = {}
    for row, item, kind, cause, contribution in table.iter_rows():
        one = shared.setdefault(item, {}).setdefault((kind, cause), {"sum": 0.0, "members": []})
        one["sum"] += contribution
        one["members"].append(row)
    return [
        [
            ((kind, cause, one["sum"]), one["members"])
            for (kind, cause), one in sorted(
                shared.get(item, {}).items(),
                key=lambda pair: (
                    pair[0][0] == "popularity",  # the least that can be said
                    -len(pair[1]["members"]),
                    -pair[1]["sum"],
                ),
            )[:_REASONS]
        ]
        for item in items
    ]
