"""Policies: named ways to build a training set from real and synthetic interactions.

A policy is a list of operations applied in order. One operation is one file in this folder; params.yaml composes them:

    policies:
      profile_gan:
      - mix: {sample: profile_gan, ratio: 1.0, weight: 0.5}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import polars as pl

from augrec import component
from augrec.component import Configured
from augrec.data.columns import INTERACTIONS, require
from augrec.errors import ConfigError
from augrec.seeds import derive

Kind = Literal["real", "placebo", "generated"]


@dataclass(frozen=True)
class Ingredients:
    """What an operation may use besides the rows it is given.

    Attributes:
        real: the real training interactions, before any operation.
        sample: gives the synthetic interactions of a generator by name.
        max_ratio: at most this many synthetic users for each real one.
    """

    real: pl.DataFrame
    sample: Callable[[str], pl.DataFrame]
    max_ratio: float


class Operation(Configured, ABC):
    """One step of a policy: a pure function from a training set to a training set.

    `kind` says what its rows are: "real" (only rearranges real rows), "placebo" (makes users cheaply, with no generator:
    the control a generator must beat), or "generated" (uses a generator's sample).
    """

    kind: ClassVar[Kind]
    continues_champion: ClassVar[bool] = False
    """Whether training under the policy begins at the champion's weights, where it can."""

    @abstractmethod
    def apply(self, training: pl.DataFrame, ingredients: Ingredients) -> pl.DataFrame:
        """The new training set: canonical interactions, perhaps with `observed`; `training` is not changed."""


class Policy:
    """A named list of operations.

    Args:
        name: the policy's name in params.yaml.
        steps: one mapping for each operation, {operation name: its config}; an empty list is the policy "none".
        seed: where the operations' random draws come from.
    """

    def __init__(
        self, name: str, steps: Sequence[Mapping[str, Mapping[str, Any] | None]], *, seed: int
    ) -> None:
        self.name = name
        self.operations: list[Operation] = []
        for place, step in enumerate(steps):
            if len(step) != 1:
                raise ConfigError(
                    "each step of a policy names one operation",
                    where=f"params.yaml, policies.{name}[{place}]",
                    fix="write it as `- operation: {option: value}`",
                )
            [(operation, config)] = step.items()
            kind = component.find("augrec.augmentation", operation, Operation)  # type: ignore[type-abstract]
            self.operations.append(kind(config, seed=derive(seed, name, place, operation)))

    @property
    def kind(self) -> Kind:
        """The kind of its most artificial operation: generated, else placebo, else real."""
        kinds = {operation.kind for operation in self.operations}
        return "generated" if "generated" in kinds else "placebo" if "placebo" in kinds else "real"

    @property
    def continues_champion(self) -> bool:
        """Whether training begins at the champion's weights, where it can."""
        return any(operation.continues_champion for operation in self.operations)

    def apply(self, ingredients: Ingredients) -> pl.DataFrame:
        """Build the training set: the real rows as they are and in their order, then what the operations add.

        Raises:
            InputError: the real interactions are not canonical.
        """
        require(ingredients.real, INTERACTIONS, where="real training interactions")
        ingredients = replace(ingredients, real=ingredients.real.select(INTERACTIONS.keys()))
        training = ingredients.real
        for operation in self.operations:
            training = operation.apply(training, ingredients)
        return training
