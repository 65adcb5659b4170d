"""Gains and losses of every policy against "none", paired by user, from the per-user metrics of the
run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.data.split import TEST
from augrec.evaluation import repetitions
from augrec.evaluation.paired import Paired
from augrec.evaluation.user_means import OVERALL
from augrec.reporting.words import find_arm

BASELINE = "none"


@dataclass(frozen=True)
class Gain:
    """A policy's metric minus that of "none" on the same users: mean difference and confidence
    interval."""

    policy: str
    kind: str
    slice: str
    n_users: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class UserGains:
    """Each user's gain of one policy over "none" in the gate's target slice."""

    recommender: str
    policy: str
    slice: str
    values: list[float]

    @property
    def better(self) -> int:
        """The number of users who gained."""
        return sum(value > 0 for value in self.values)

    @property
    def worse(self) -> int:
        """The number of users who lost."""
        return sum(value < 0 for value in self.values)


def against_none(workspace: Path, decision: Mapping[str, Any]) -> dict[str, list[Gain]]:
    """For each recommender: the gains of every policy, over all test users and in each slice.

    The intervals are made as the gate makes its own, by the same paired bootstrap, draws and seed,
    but each is that of a single comparison.
    """
    found: dict[str, list[Gain]] = {}
    for recommender in dict.fromkeys(arm["recommender"] for arm in decision["arms"]):
        arms = [arm for arm in decision["arms"] if arm["recommender"] == recommender]
        paired = _paired(workspace, arms, decision["gate"]["metric"])
        if paired is None:
            continue
        gains = (
            _gain(arm, name, paired, decision)
            for arm in arms
            if arm["policy"] != BASELINE and paired.has(arm["policy"])
            for name in (OVERALL, *SLICES)
        )
        found[recommender] = [gain for gain in gains if gain]
    return {recommender: gains for recommender, gains in found.items() if gains}


def winner_by_user(workspace: Path, decision: Mapping[str, Any]) -> UserGains | None:
    """The winner's gains over "none", user by user; where "none" itself won, those of the best
    generated policy."""
    recommender, policy = decision["winner"]["recommender"], decision["winner"]["policy"]
    if policy == BASELINE:
        rows = [
            row for row in decision.get("recommenders", []) if row["recommender"] == recommender
        ]
        policy = rows[0].get("candidate") if rows else None
    if not policy or not (arm := find_arm(decision, recommender, policy)):
        return None
    metric, group = decision["gate"]["metric"], _group(decision["gate"]["target_slice"])
    paired = _paired(workspace, [arm], metric)
    if paired is None or not paired.has(policy):
        return None
    ours, theirs = (paired.values(name, metric, group) for name in (policy, BASELINE))
    values = (ours.mean - theirs.mean).tolist()
    return UserGains(recommender, policy, group, values) if values else None


def _paired(workspace: Path, arms: Sequence[Mapping[str, Any]], metric: str) -> Paired | None:
    """Those of a recommender's arms that were measured, and "none"; nothing where that was not."""
    folder = workspace / "reports/evaluation" / arms[0]["recommender"]
    names = dict.fromkeys((BASELINE, *(arm["policy"] for arm in arms)))
    tables = {
        name: repetitions.split_of(
            repetitions.read(folder / name, ["split", C.USER, "slice", metric]), TEST
        )
        for name in names
        if (folder / name / "per_user.parquet").exists()
    }
    generated = [arm["policy"] for arm in arms if arm["kind"] == "generated"]
    return Paired(tables, generated) if BASELINE in tables else None


def _group(target: str) -> str:
    return OVERALL if target == "all" else target


def _gain(
    arm: Mapping[str, Any], group: str, paired: Paired, decision: Mapping[str, Any]
) -> Gain | None:
    gate = decision["gate"]
    found = paired.difference(
        arm["policy"],
        BASELINE,
        gate["metric"],
        group,
        confidence=gate["confidence"],
        samples=gate["bootstrap_samples"],
        seed=decision["seed"],
    )
    if found.difference is None or found.ci_low is None or found.ci_high is None:
        return None
    return Gain(
        arm["policy"],
        arm["kind"],
        group,
        found.n_users,
        found.difference,
        found.ci_low,
        found.ci_high,
    )
