"""Policies: named ways to build a training set from real and synthetic interactions.

A policy is a list of operations applied in order. One operation is one file in this folder;
params.yaml composes them:

    policies:
      profile_gan:
        description: users made by a GAN added
        steps:
        - truncate: {ratio: 1.0}
        - mix: {sample: profile_gan, ratio: 1.0, weight: 0.5}

Operations add users, add rows to real users, or change what rows weigh; `synthetic_only` drops the
real ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

import polars as pl

from augrec.core import component
from augrec.core.component import Configured
from augrec.core.errors import ConfigError
from augrec.core.seeds import derive
from augrec.data.columns import INTERACTIONS, require
from augrec.recommenders._taste.tastes import Tastes

Steps = Sequence[Mapping[str, Mapping[str, Any] | None]]
"""A policy as params.yaml has it: [{operation: {option: value}}, …]."""

Kind = Literal["real", "placebo", "generated"]
KINDS: Final = ("real", "placebo", "generated")
"""From the least artificial to the most."""


def _nothing(generator: str, table: str) -> None:
    return None


@dataclass(frozen=True)
class PolicyInputs:
    """What an operation may use in addition to the rows it is given.

    Attributes:
        real: the real training interactions, before any operation.
        sample: gives the synthetic interactions of a generator by name.
        max_ratio: at most this many synthetic users for each real one.
        sample_table: gives a further table of a generator's sample, such as "realness", by the
            names of both; None where the generator makes none.
        trained: the recommenders that operations have trained on `real`, see
            `augrec.augmentation._recommender`.
        short_samples: whether a sample of fewer users than are asked for is taken whole; else it is
            refused.
        tastes: the taste groups of the run; None: there are none.
    """

    real: pl.DataFrame
    sample: Callable[[str], pl.DataFrame]
    max_ratio: float
    sample_table: Callable[[str, str], pl.DataFrame | None] = field(default=_nothing)
    trained: dict[str, Any] = field(default_factory=dict)
    short_samples: bool = False
    tastes: Tastes | None = None


class Operation(Configured, ABC):
    """One step of a policy: a pure function from a training set to a training set.

    Attributes:
        kind: what its rows are: "real" (only rearranges or weights real rows), "placebo" (makes
            rows cheaply, without a generator: the control a generator must beat), or "generated"
            (uses a generator's sample).
        generators: those whose samples it uses.
        makes_users: whether it makes users, as many as its `ratio` says, so that `mix` can choose
            among them as among a sample.
        continues_champion: whether training under the policy begins at the champion's weights,
            where it can.
        drops_real_users: whether it drops every row of a real user.
        adds_no_real_users: whether it adds no row of a real user, nor a model trained on one.
    """

    kind: Kind
    generators: tuple[str, ...] = ()
    makes_users: ClassVar[bool] = False
    continues_champion: ClassVar[bool] = False
    drops_real_users: ClassVar[bool] = False
    adds_no_real_users: bool = False

    @abstractmethod
    def apply(self, training: pl.DataFrame, inputs: PolicyInputs) -> pl.DataFrame:
        """The new training set: canonical interactions, perhaps with `observed`; `training` is not
        changed."""


class Policy:
    """A named list of operations.

    Args:
        name: the policy's name in params.yaml.
        steps: one mapping for each operation, {operation name: its config}; an empty list is the
            policy "none".
        seed: seed of the operations' random draws.
    """

    def __init__(self, name: str, steps: Steps, *, seed: int) -> None:
        self.name, self.seed = name, seed
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
        if self.is_synthetic_only:
            self._refuse_real_users()

    @property
    def kind(self) -> Kind:
        """The kind of its most artificial operation: generated, else placebo, else real."""
        return max(
            (operation.kind for operation in self.operations), key=KINDS.index, default="real"
        )

    @property
    def generators(self) -> tuple[str, ...]:
        """Those whose samples it uses, by name."""
        return tuple(
            sorted({name for operation in self.operations for name in operation.generators})
        )

    @property
    def is_synthetic_only(self) -> bool:
        """Whether its training set is meant to hold no row of a real user."""
        return any(operation.drops_real_users for operation in self.operations)

    @property
    def continues_champion(self) -> bool:
        """Whether training begins at the champion's weights, where it can."""
        return any(operation.continues_champion for operation in self.operations)

    @property
    def older(self) -> float | None:
        """Where training continues the champion, the weight of older interactions; else None."""
        return next((one.config.older for one in self.operations if one.continues_champion), None)

    def apply(self, inputs: PolicyInputs) -> pl.DataFrame:
        """Build the training set: the real rows as they are and in their order, then what the
        operations add.

        Raises:
            InputError: the real interactions are not canonical.
        """
        require(inputs.real, INTERACTIONS, where="real training interactions")
        inputs = replace(inputs, real=inputs.real.select(INTERACTIONS.keys()))
        training = inputs.real
        for operation in self.operations:
            training = operation.apply(training, inputs)
        if self.is_synthetic_only and training.is_empty():
            raise ConfigError(
                "nothing is left to train on: no generator gave this policy a user",
                where=f"params.yaml, policies.{self.name}",
                fix="add `mix` with a generator's sample, a ratio and a weight above 0",
            )
        return training

    def _refuse_real_users(self) -> None:
        """Copies of real rows under new ids would pass for synthetic ones."""
        copying = sorted({one.name() for one in self.operations if not one.adds_no_real_users})
        if copying:
            raise ConfigError(
                f"the policy must hold no row of a real user, and {', '.join(copying)} would bring "
                "some",
                where=f"params.yaml, policies.{self.name}",
                fix="with synthetic_only use only `mix` with samples of generators, and `reweigh`",
            )
