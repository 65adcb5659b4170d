"""What takes part in a decision: one recommender trained on one policy's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

REAL: Final = "real"
PLACEBO: Final = "placebo"
GENERATED: Final = "generated"


@dataclass(frozen=True)
class Arm:
    """One recommender trained on one policy's data.

    Attributes:
        recommender, policy: their names.
        kind: "real", "placebo" or "generated": the policy's.
        generators: whose samples the policy uses; each must have passed its audit.
        steps: gradient steps of its training; None: it has none.
        cost: what its training takes, one of `augrec.evaluation.parsimony.COSTS`.
        continues: whether its training began at the champion's weights; else it is a full retrain.
        regularisation: the values that were chosen for it on validation users.
        catalogue: metrics of the catalogue as a whole, by split.
        membership: what the attack on its model found, see `augrec.audit.recommender_attack`; None:
            it was not measured.
        breakdowns: further parts of the arm's entry in decision.json, by split: item groups, user
            groups, periods.
    """

    recommender: str
    policy: str
    kind: str
    generators: tuple[str, ...] = ()
    steps: int | None = None
    cost: str = "gradient_steps"
    continues: bool = False
    regularisation: Mapping[str, Any] = field(default_factory=dict)
    catalogue: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    membership: Mapping[str, Any] | None = None
    breakdowns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Measured = Mapping[tuple[str, str], Sequence[pl.DataFrame]]
"""(recommender, policy) -> a table for each repetition of the training, that of the model that may
be promoted first."""
