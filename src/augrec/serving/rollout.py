"""The served models, and which users the challenger answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from augrec.serving.config import RolloutConfig
from augrec.serving.model import Model

Side = Literal["champion", "challenger"]
_RANGE = 2**64


@dataclass(frozen=True, eq=False)
class Deployment:
    """The served models. Immutable and replaced as a whole, so that a request sees only one state.

    Attributes:
        champion: None before the first promotion.
        challenger: None unless the registry names one.
        fallback: popularity on data/raw, used while there is no champion.
    """

    champion: Model | None = None
    challenger: Model | None = None
    fallback: Model | None = None

    @property
    def base(self) -> Model | None:
        """The model for users who are not assigned to the challenger."""
        return self.champion or self.fallback


def side(user_id: str | None, config: RolloutConfig) -> Side:
    """The side a user is assigned to, fixed for a salt; requests without a user id get the
    champion."""
    if config.mode != "split" or user_id is None:
        return "champion"
    hashed = hashlib.sha256(f"{config.salt}\x00{user_id}".encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / _RANGE
    return "challenger" if share < config.challenger_percent / 100 else "champion"
