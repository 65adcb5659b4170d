"""Placeholder for the mix that is best on validation users, or for no mix; `augrec.tuning.mixing`
searches for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl
from pydantic import Field

from augrec.augmentation.base import KINDS, Operation, Policy, PolicyInputs
from augrec.augmentation.mix import Mix
from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError


class SearchConfig(BaseConfig):
    """What is tried, how it is evaluated, and for how long."""

    samples: list[str] = Field(min_length=1)
    """As in `mix`: generators, and operations that make users, each of which may be the choice.
    The sample of a generator whose audit did not pass is left out."""
    together: int = Field(1, ge=1)
    """At most this many of them are mixed, in equal shares."""
    ratios: list[float] = Field([0.5, 1.0], min_length=1)
    """Users added for each real one."""
    weights: list[float] = Field([0.25, 0.5, 1.0], min_length=1)
    """Of their rows; 0, which adds nothing, is always tried first."""
    options: list[dict[str, dict[str, Any]]] = Field([{}], min_length=1)
    """Options of the operations among `samples`, by name; each of the list is tried."""
    choose: list[dict[str, dict[str, Any] | None]] = []
    """Selectors of `mix`, the same for all candidates."""
    pool: float | None = Field(None, gt=0.0)
    """As in `mix`."""
    recommender: dict[str, dict[str, Any] | None] = {"multvae": None}
    """One recommender and its config: it is trained on each candidate's rows and evaluated on
    validation users."""
    metric: str = "ndcg@10"
    """Maximised; a metric of `evaluation` at any cutoff."""
    slice: str | None = None
    """Only validation users of this slice, such as "1-5"; null: all."""
    trials: int = Field(20, ge=1)
    """At most this many trainings; where there are no more candidates, each is tried once."""
    seconds: float | None = Field(600.0, gt=0)
    """No training begins later than this, and a running one is stopped; which trainings end in time
    depends on the machine. null: no limit, the same result on every machine."""
    pruning: bool = True
    """Stop a training whose curve is below the median of those before it."""


class Search(Operation):
    """A `mix` whose samples, ratio and weight are chosen on validation users. Of equals the one
    tried first wins.

    Before the search its kind is that of its most artificial candidate; its result is a `mix`,
    whose kind is that of its samples, or no step.
    """

    Config = SearchConfig

    def __init__(
        self, config: BaseConfig | Mapping[str, Any] | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        every = [mix for name in self.config.samples for mix in self._alone(name)]
        self.kind = max((mix.kind for mix in every), key=KINDS.index)
        self.generators = tuple(dict.fromkeys(name for mix in every for name in mix.generators))
        self.adds_no_real_users = all(mix.adds_no_real_users for mix in every)

    def choices(self, without: Sequence[str]) -> list[str]:
        """What can be mixed: names of samples, joined by + where they are mixed together, without
        what uses a generator in `without`."""
        names = [
            name
            for name in dict.fromkeys(self.config.samples)
            if not any(used in without for mix in self._alone(name) for used in mix.generators)
        ]
        most = min(self.config.together, len(names))
        return ["+".join(some) for n in range(1, most + 1) for some in combinations(names, n)]

    def step(
        self, samples: str, ratio: float, weight: float, options: int = 0
    ) -> list[dict[str, Any]]:
        """The step of a policy that replaces the search: a candidate's `mix`, or none at weight 0;
        `options`: the place in the list."""
        return [{"mix": self._mix(samples, ratio, weight, options)}] if weight > 0 else []

    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """Not applied: a search must be run before.

        Raises:
            ConfigError: always; the search must be run before.
        """
        raise ConfigError(
            "this policy's search has not been run",
            where="policies, step search",
            fix="build it with the stage augment, or run it with augrec.tuning.mixing",
        )

    def _alone(self, name: str) -> list[Mix]:
        """One sample alone, with each of the options."""
        places = range(len(self.config.options))
        return [Mix(self._mix(name, 1.0, 1.0, place), seed=self.seed) for place in places]

    def _mix(self, samples: str, ratio: float, weight: float, options: int) -> dict[str, Any]:
        config, named = self.config, samples.split("+")
        own = {name: some for name, some in config.options[options].items() if name in named}
        return {
            "samples": dict.fromkeys(named, 1.0),
            "ratio": ratio,
            "weight": weight,
            "choose": config.choose,
            "pool": config.pool,
            **({"options": own} if own else {}),
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
