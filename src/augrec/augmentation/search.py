"""Stands for the mix that serves validation users best, or for no mix at all;
`augrec.tuning.mixing` looks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl
from pydantic import Field

from augrec.augmentation.base import Operation, Policy, PolicyInputs
from augrec.augmentation.mix import Mix
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError


class SearchConfig(BaseConfig):
    """What is tried, by whom it is judged, and for how long."""

    samples: list[str] = Field(min_length=1)
    """As in `mix`: generators, and operations that make users, each of which may be what is chosen.
    The sample of a generator whose audit did not pass is left out."""
    together: int = Field(1, ge=1)
    """At most so many of them are mixed in equal shares."""
    ratios: list[float] = Field([0.5, 1.0], min_length=1)
    """Users added for each real one."""
    weights: list[float] = Field([0.25, 0.5, 1.0], min_length=1)
    """Of their rows; 0, which adds nothing, is always tried first."""
    choose: list[dict[str, dict[str, Any] | None]] = []
    """Selectors of `mix`, the same for all candidates."""
    pool: float | None = Field(None, gt=0.0)
    """As in `mix`."""
    recommender: dict[str, dict[str, Any] | None] = {"multvae": None}
    """One recommender and its config: it trains on each candidate's rows, and is judged on
    validation users."""
    metric: str = "ndcg@10"
    """Maximised; a metric of `evaluation` at any cutoff."""
    slice: str | None = None
    """Only validation users with so many items, such as "1-5"; null: all."""
    trials: int = Field(20, ge=1)
    """At most so many trainings; where all candidates are no more than that, each is tried once."""
    seconds: float | None = Field(600.0, gt=0)
    """No training begins later than this, and one under way is given up; which end in time depends
    on the machine. null: as long as it takes, the same on every machine."""
    pruning: bool = True
    """Give a training up whose curve runs below the median of those before it."""


class Search(Operation):
    """A `mix` whose samples, ratio and weight are chosen on validation users. Of equals the one
    tried first wins.

    Until it is settled its kind is that of its most artificial candidate; what comes out is a
    `mix`, whose kind is that of its samples, or nothing.
    """

    Config = SearchConfig

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        widest = Mix(self._mix("+".join(self.config.samples), 1.0, 1.0), seed=seed)
        self.kind, self.generators = widest.kind, widest.generators
        self.adds_no_real_users = widest.adds_no_real_users

    def choices(self, without: Sequence[str]) -> list[str]:
        """What can be mixed: names of samples, joined by + where they are mixed together, none of
        them in `without`."""
        names = [name for name in dict.fromkeys(self.config.samples) if name not in without]
        most = min(self.config.together, len(names))
        return ["+".join(some) for n in range(1, most + 1) for some in combinations(names, n)]

    def step(self, samples: str, ratio: float, weight: float) -> list[dict[str, Any]]:
        """What a candidate puts in the search's place: one step of a policy, or none at weight
        0."""
        return [{"mix": self._mix(samples, ratio, weight)}] if weight > 0 else []

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Never comes so far.

        Raises:
            ConfigError: always; the search must be settled before.
        """
        raise ConfigError(
            "this policy's search has not been settled",
            where="policies, step search",
            fix="build it with the stage augment, or settle it with augrec.tuning.mixing",
        )

    def _mix(self, samples: str, ratio: float, weight: float) -> dict[str, Any]:
        config = self.config
        return {
            "samples": dict.fromkeys(samples.split("+"), 1.0),
            "ratio": ratio,
            "weight": weight,
            "choose": config.choose,
            "pool": config.pool,
        }


def find_search(policy: Policy) -> tuple[int, Search] | None:
    """A policy's search, and which of its steps that is; None: it has none.

    Raises:
        ConfigError: it has several.
    """
    found = [(place, one) for place, one in enumerate(policy.operations) if isinstance(one, Search)]
    if len(found) > 1:
        raise ConfigError(
            f"the policy searches {len(found)} times",
            where=f"params.yaml, policies.{policy.name}",
            fix="name all samples in one `search`",
        )
    return found[0] if found else None
