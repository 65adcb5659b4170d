"""What every protocol gives and promises."""

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
    """What a protocol promises of its tables.

    Of all protocols it holds that only the judge sees a case's targets: they are neither in the
    user's training rows nor in the case's history, and no test target is in a validation case of
    the user.

    Attributes:
        order: "global": training rows lie before valid_from, a case's history before its moment,
            its targets from its moment on and inside its period. "user": history before the moment,
                targets from then on, and nothing of the
            user's training rows later than that. "none": targets lie anywhere in the user's record.
        strangers: users of cases are held out, and never trained on; otherwise nobody is held out.
        new_items: targets are items that no training row holds.
    """

    order: Literal["global", "user", "none"]
    strangers: bool
    new_items: bool = False


@dataclass(frozen=True)
class Parts:
    """What a protocol makes of the interactions.

    Attributes:
        train: rows of the interactions, in their order.
        cases_valid, cases_test: see `augrec.data.cases.CASES`.
        held_out: user_id, role ("valid" or "test"), sorted by user.
        valid_from, test_from: the cuts, UTC; None where time is not cut for all alike.
    """

    train: pl.DataFrame
    cases_valid: pl.DataFrame
    cases_test: pl.DataFrame
    held_out: pl.DataFrame
    valid_from: datetime | None = None
    test_from: datetime | None = None


class Protocol(Configured, ABC):
    """A way to split.

    Args:
        config: `prepare.split` of params.yaml; each protocol reads the keys that concern it.
        seed: decides what is drawn.
    """

    config: SplitConfig

    def __init__(self, config: SplitConfig | None = None, *, seed: int = 0) -> None:
        self.config = config or SplitConfig()
        self.seed = seed

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """What it promises."""

    @abstractmethod
    def parts(self, table: pl.DataFrame) -> Parts:
        """Split; the cost is linear in the rows, but for sorting.

        Args:
            table: canonical interactions sorted by user and time; a user meets an item once.

        Raises:
            RefusedError: too little data for what was asked; the message says what to change.
        """


def protocol_of(config: SplitConfig, seed: int) -> Protocol:
    """The protocol that `prepare.split` names.

    Raises:
        ConfigError: there is none of that name.
    """
    return component.find("augrec.data.protocols", config.protocol, Protocol)(config, seed=seed)  # type: ignore[type-abstract]
