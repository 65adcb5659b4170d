"""Who is answered by the challenger."""

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
    """Everything that answers at one moment; a swap replaces the whole of it, so that no request
    sees two.

    Attributes:
        champion: who answers; None before the first promotion.
        challenger: who is tried out.
        fallback: popular items of the data, for when there is no champion.
    """

    champion: Model | None = None
    challenger: Model | None = None
    fallback: Model | None = None

    @property
    def base(self) -> Model | None:
        """Who answers whoever is not the challenger's."""
        return self.champion or self.fallback


def side(user_id: str | None, config: RolloutConfig) -> Side:
    """Which side a user is on: always the same one for the same salt; nobody without an id is the
    challenger's."""
    if config.mode != "split" or user_id is None:
        return "champion"
    hashed = hashlib.sha256(f"{config.salt}\x00{user_id}".encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / _RANGE
    return "challenger" if share < config.challenger_percent / 100 else "champion"
