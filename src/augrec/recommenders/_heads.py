"""Heads: what a recommender predicts about events besides a ranking, such as the chance of a
purchase or the rating to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np

from augrec.data.histories import Histories, ItemIndex

RATING: Final = "rating"
"""The event whose value is predicted."""
RATED: Final = "rated"
"""The head for whether an item is rated at all."""


@dataclass(frozen=True)
class Head:
    """One thing that is predicted of a user and an item.

    Attributes:
        name: unique within a recommender: the event's name; of ratings "rated" (whether) and
            "rating" (how high).
        event: the kind of event it is about.
        kind: "probability": that a pair is such an event and not an item drawn evenly from those
            the user never meets, when one pair of each kind is as likely as the other; a half says
            that nothing speaks for or against it. "value": the event's value, in the unit of the
                column `value`.
    """

    name: str
    event: str
    kind: Literal["probability", "value"]


@runtime_checkable
class HasHeads(Protocol):
    """A recommender that predicts events; `augrec.evaluation.heads` measures how well."""

    items: ItemIndex
    heads: tuple[Head, ...]

    def predict_events(self, histories: Histories, items: np.ndarray) -> dict[str, np.ndarray]:
        """The prediction of every head for the pairs: {head's name: float32 (n, m)}.

        Args:
            histories: of n users.
            items: positions of items, int (n, m); -1 is an empty place, whatever it is given.
        """
        ...


def heads_of(events: list[str], *, rated: bool) -> tuple[Head, ...]:
    """The heads for these kinds of events, by name; `rated`: whether ratings have values that
    differ."""
    chances = [Head(RATED if event == RATING else event, event, "probability") for event in events]
    values = [Head(RATING, RATING, "value")] * (rated and RATING in events)
    return tuple(sorted([*chances, *values], key=lambda head: head.name))
