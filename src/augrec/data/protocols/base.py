"""The base of all protocols, the tables that they return, and the properties they guarantee."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import polars as pl

from augrec.core import component
from augrec.core.component import Configured
from augrec.data.config import SplitConfig

VALID: Final = "valid"
TEST: Final = "test"
ROLE: Final = "role"


@dataclass(frozen=True)
class Rules:
    """The properties that a protocol guarantees.

    Under every protocol, targets are used only for evaluation: they are neither in the user's
    training rows nor in the case's history, and no test target is in a validation case of the user.
    No instant is cut (`augrec.data.instants`): no target shares its timestamp with an item of the
    history.

    Attributes:
        order: "global": training rows are before valid_from, a case's history is before its moment,
            its targets are from its moment on and inside its period. "user": the history is before
            the moment, the targets are from then on, and no training row of the user is later.
            "none": targets may be at any time.
        users_held_out: users of cases are in no training row; otherwise no user is held out.
        new_items: targets are items that are in no training row.
    """

    order: Literal["global", "user", "none"]
    users_held_out: bool
    new_items: bool = False


@dataclass(frozen=True)
class Parts:
    """The tables that a protocol makes of the interactions.

    Attributes:
        train: the training rows, in the order of the interactions.
        cases_valid, cases_test: see `augrec.data.cases.CASES`.
        held_out: user_id, role ("valid" or "test"), sorted by user.
        valid_from, test_from: the cuts, UTC; None if there are no common cuts in time.
    """

    train: pl.DataFrame
    cases_valid: pl.DataFrame
    cases_test: pl.DataFrame
    held_out: pl.DataFrame
    valid_from: datetime | None = None
    test_from: datetime | None = None

    def cases(self, role: str) -> pl.DataFrame:
        """The cases of "valid" or "test"."""
        return self.cases_valid if role == VALID else self.cases_test


class Protocol(Configured, ABC):
    """A way to split.

    Args:
        config: `prepare.split` of params.yaml; each protocol reads the keys that apply to it.
        seed: for the random choice of users, items or rows.
    """

    config: SplitConfig

    def __init__(self, config: SplitConfig | None = None, *, seed: int = 0) -> None:
        self.config = config or SplitConfig()
        self.seed = seed

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """The properties that the protocol guarantees."""

    @abstractmethod
    def parts(self, table: pl.DataFrame) -> Parts:
        """Split; the time is linear in the rows, apart from sorting.

        Args:
            table: canonical interactions, sorted by user and time; at most one for each user and
                item.

        Raises:
            RefusedError: too little data for the parameters; the message says what to change.
        """


def protocol_of(config: SplitConfig, seed: int) -> Protocol:
    """The protocol that `prepare.split` names.

    Raises:
        ConfigError: there is no such protocol.
    """
    return component.find("augrec.data.protocols", config.protocol, Protocol)(config, seed=seed)  # type: ignore[type-abstract]
