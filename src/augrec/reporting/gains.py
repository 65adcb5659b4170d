"""Who gained and who lost: every policy against "none", paired by user, from the per-user metrics of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.data.split import TEST
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import OVERALL, user_values
from augrec.reporting.load import table
from augrec.reporting.words import find_arm

BASELINE = "none"


@dataclass(frozen=True)
class Gain:
    """A policy's metric minus that of "none" on the same users: mean difference and confidence interval."""

    policy: str
    kind: str
    slice: str
    n_users: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class UserGains:
    """Each user's gain of one policy over "none" in the slice the gate looks at."""

    recommender: str
    policy: str
    slice: str
    values: list[float]

    @property
    def better(self) -> int:
        """How many users gained."""
        return sum(value > 0 for value in self.values)

    @property
    def worse(self) -> int:
        """How many users lost."""
        return sum(value < 0 for value in self.values)


def against_none(workspace: Path, decision: Mapping[str, Any]) -> dict[str, list[Gain]]:
    """For each recommender: the gains of every policy, over all test users and in each slice.

    The intervals are made as the gate makes its own: the same paired bootstrap, draws and seed.
    """
    found: dict[str, list[Gain]] = {}
    for arm in decision["arms"]:
        if arm["policy"] == BASELINE:
            continue
        sides = _sides(workspace, arm["recommender"], arm["policy"], decision["gate"]["metric"])
        if sides is not None:
            gains = (_gain(arm, name, sides, decision) for name in (OVERALL, *SLICES))
            found.setdefault(arm["recommender"], []).extend(gain for gain in gains if gain)
    return found


def winner_by_user(workspace: Path, decision: Mapping[str, Any]) -> UserGains | None:
    """The winner's gains over "none", user by user; where "none" itself won, those of the best generated policy."""
    recommender, policy = decision["winner"]["recommender"], decision["winner"]["policy"]
    if policy == BASELINE:
        rows = [row for row in decision.get("recommenders", []) if row["recommender"] == recommender]
        policy = rows[0].get("candidate") if rows else None
    if not policy or not find_arm(decision, recommender, policy):
        return None
    metric, group = decision["gate"]["metric"], _group(decision["gate"]["target_slice"])
    sides = _sides(workspace, recommender, policy, metric)
    if sides is None:
        return None
    ours, theirs = (user_values(side, metric, group) for side in sides)
    both = ours.join(theirs, on=C.USER, suffix="_none", maintain_order="left")
    values = (both["value"] - both["value_none"]).to_list()
    return UserGains(recommender, policy, group, values) if values else None


def _sides(workspace: Path, recommender: str, policy: str, metric: str) -> list[pl.DataFrame] | None:
    """The test rows of a policy and of "none"; nothing where one was not measured."""
    sides = []
    for name in (policy, BASELINE):
        path = workspace / "reports/evaluation" / recommender / name / "per_user.parquet"
        rows = table(path, ["split", C.USER, "slice", metric])
        if rows is None:
            return None
        sides.append(rows.filter(pl.col("split") == TEST))
    return sides


def _group(target: str) -> str:
    return OVERALL if target == "all" else target


def _gain(
    arm: Mapping[str, Any], group: str, sides: list[pl.DataFrame], decision: Mapping[str, Any]
) -> Gain | None:
    gate = decision["gate"]
    found = paired_difference(sides[0], sides[1], gate["metric"], slice_name=group, confidence=gate["confidence"],
                              samples=gate["bootstrap_samples"], seed=decision["seed"])  # fmt: skip
    if found.difference is None or found.ci_low is None or found.ci_high is None:
        return None
    return Gain(
        arm["policy"], arm["kind"], group, found.n_users, found.difference, found.ci_low, found.ci_high
    )
