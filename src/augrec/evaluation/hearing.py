"""One recommender's candidate before the gate: what it is held against, how strictly, and what the
data could show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from pydantic import Field

from augrec.core.config import BaseConfig
from augrec.core.errors import ConfigError
from augrec.data.split import TEST
from augrec.evaluation._words import audit_reason
from augrec.evaluation.harm import Limits, judge_groups
from augrec.evaluation.metrics import OVERALL
from augrec.evaluation.paired import Paired
from augrec.evaluation.power import detectable
from augrec.evaluation.repetitions import split_of

BEATS: Final = "beats"
NON_INFERIOR: Final = "non_inferior"
CONTINUED: Final = "continued"
GENERATED: Final = "generated"


class GateConfig(BaseConfig):
    """`gate` of params.yaml."""

    target_slice: Literal["0", "1-5", "6-20", "21+", "all"] = "1-5"
    """The users that generated data must help."""
    metric: str = "ndcg@10"
    """What they are judged by: a metric and one of evaluation.cutoffs."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the two-sided interval."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of the users."""
    non_inferiority_margin: float = Field(default=0.01, ge=0, lt=1)
    """Largest tolerated relative loss, over all users and in each group."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """The gain is told that would have passed with this chance."""
    min_users: int = Field(default=20, ge=2)
    """A group with fewer users decides nothing."""


@dataclass(frozen=True)
class Arm:
    """One recommender trained on one policy's data.

    Attributes:
        recommender, policy: their names.
        kind: "real", "placebo" or "generated": the policy's.
        generators: whose samples the policy uses; each must have passed its audit.
        steps: gradient steps of its training; None: it has none.
        continues: whether its training began at the champion's weights; else it is a full retrain.
        regularisation: the values that were chosen for it on validation users.
        catalogue: metrics of the catalogue as a whole, by split.
        beside: more to keep with the arm's numbers, by split: shares of items, groups of users,
            periods.
    """

    recommender: str
    policy: str
    kind: str
    generators: tuple[str, ...] = ()
    steps: int | None = None
    continues: bool = False
    regularisation: Mapping[str, Any] = field(default_factory=dict)
    catalogue: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Measured = Mapping[tuple[str, str], Sequence[pl.DataFrame]]
"""(recommender, policy) -> a table for each repetition of the training, that of the model that may
be promoted first."""


@dataclass(frozen=True)
class Case:
    """All that the decisions are made from.

    Attributes:
        measured: of every arm.
        validation: the metric's mean over validation users and repetitions.
        audits: of every generator.
        groups: of test users.
        same_people: whether some of the test users are validation users too.
    """

    gate: GateConfig
    seed: int
    measured: Measured
    validation: Mapping[tuple[str, str], float]
    audits: Mapping[str, Mapping[str, Any]]
    groups: pl.DataFrame | None
    same_people: bool

    @property
    def target(self) -> str:
        """Whom synthetic data must help: a slice, or everybody."""
        return OVERALL if self.gate.target_slice == "all" else self.gate.target_slice

    def paired(self, arms: Sequence[Arm]) -> Paired:
        """One recommender's arms on test users."""
        tables = {
            arm.policy: split_of(self.measured[arm.recommender, arm.policy], TEST) for arm in arms
        }
        return Paired(tables, [arm.policy for arm in arms if arm.kind == GENERATED])


@dataclass(frozen=True)
class Hearing:
    """One recommender's candidate before the gate: what it is held against, and how strictly.

    Attributes:
        best: the best policy without generated data.
        candidate: None: no policy with generated data took part.
        without: all that the candidate must beat.
        refusal: why it cannot be accepted whatever the test users say; empty: it can.
        tried: among so many candidates it may have been chosen by luck.
        continued: each policy without generated data that goes on from the champion, compared with
            the full retrain.
    """

    case: Case
    paired: Paired
    best: Arm
    candidate: Arm | None
    without: Sequence[Arm]
    refusal: str = ""
    tried: int = 1
    continued: Sequence[dict[str, Any]] = ()

    def comparisons(self, divided: int) -> list[dict[str, Any]]:
        """Every comparison, its level divided by so many."""
        if self.candidate is None:
            return []
        rows = [self._compare(other, BEATS, self.case.target, divided) for other in self.without]
        return [*rows, self._compare(self.best, NON_INFERIOR, OVERALL, divided)]

    def passes(self, divided: int) -> bool:
        """Whether all comparisons come out well."""
        return all(row["passed"] for row in self.comparisons(divided))

    def groups(self) -> list[dict[str, Any]]:
        """What became of each group of users and items, against what would be used otherwise."""
        assert self.candidate is not None
        gate = self.case.gate
        limits = Limits(
            gate.metric,
            gate.non_inferiority_margin,
            gate.confidence,
            gate.bootstrap_samples,
            gate.min_users,
            self.case.seed,
        )
        return judge_groups(
            self.paired, self.candidate.policy, self.best.policy, limits, self.case.groups
        )

    def power(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """What gain over all comparators could have been shown on the target slice; None: too few
        users."""
        asked = [row for row in rows if row["question"] == BEATS]
        if any(row["n_users"] < self.case.gate.min_users for row in asked):
            return None
        gate, slice_name = self.case.gate, self.case.target
        policies = [asked[0]["candidate"], *(row["comparator"] for row in asked)]
        values = [self.paired.values(policy, gate.metric, slice_name).mean for policy in policies]
        sds = self.paired.sds(policies, gate.metric, slice_name)
        gains = np.stack([values[0] - other for other in values[1:]], axis=1)
        noises = [
            self.paired.noise(policies[0], other, gate.metric, slice_name) for other in policies[1:]
        ]
        gain = detectable(
            gains,
            np.array([row["difference"] - row["ci_low"] for row in asked]),
            own_sd=float(sds[0]),
            other_sds=sds[1:],
            kept=np.array(
                [noise.kept(column) for noise, column in zip(noises, gains.T, strict=True)]
            ),
            power=gate.power,
            samples=gate.bootstrap_samples,
            seed=self.case.seed,
        )
        best = max(row["comparator_mean"] for row in asked)
        return {
            "chance": gate.power,
            "n_users": asked[0]["n_users"],
            "slice": slice_name,
            "gain": gain,
            "relative": gain / best if best > 0 else None,
        }

    def _compare(
        self, comparator: Arm, question: str, slice_name: str, divided: int
    ) -> dict[str, Any]:
        assert self.candidate is not None
        tests = divided * self.tried
        return _compared(
            self.case, self.paired, self.candidate, comparator, question, slice_name, tests
        )


def _compared(
    case: Case,
    paired: Paired,
    candidate: Arm,
    comparator: Arm,
    question: str,
    slice_name: str,
    tests: int,
) -> dict[str, Any]:
    """A comparison on test users, its level divided by so many tests: a row of decision.json."""
    gate, confidence = case.gate, 1 - (1 - case.gate.confidence) / tests
    found = paired.difference(
        candidate.policy,
        comparator.policy,
        gate.metric,
        slice_name,
        confidence=confidence,
        samples=gate.bootstrap_samples * tests,  # as many in the tails
        seed=case.seed,
    )
    passed = False
    if (
        found.n_users >= gate.min_users
        and found.ci_low is not None
        and found.comparator_mean is not None
    ):
        margin = 0.0 if question == BEATS else gate.non_inferiority_margin
        passed = found.ci_low > -margin * found.comparator_mean
    return {
        "recommender": candidate.recommender,
        "candidate": candidate.policy,
        "comparator": comparator.policy,
        "slice": slice_name,
        "metric": gate.metric,
        "question": question,
        **asdict(found),
        "confidence": confidence,
        "tests": tests,
        "passed": passed,
    }


def hear(everything: Sequence[Arm], recommender: str, case: Case) -> Hearing:
    """Choose a recommender's candidate, and what it is held against, on validation users.

    What goes on from the champion is the best without generated data only where test users do not
    speak for the full retrain.

    Args:
        everything: all arms of the run.
        recommender: whose turn it is.
        case: what was measured.

    Raises:
        ConfigError: there is no policy without generated data.
    """
    arms = [arm for arm in everything if arm.recommender == recommender]
    without = [arm for arm in arms if arm.kind != GENERATED]
    if not without:
        raise ConfigError(
            f"{recommender} has no policy without generated data to be compared with",
            where="params.yaml, run.policies",
            fix="add none, and the placebos, to run.policies",
        )
    paired = case.paired(arms)
    continued = _against_retrain(everything, without, case, paired)
    worse = {row["candidate"] for row in continued if not row["passed"]}
    best = best_of([arm for arm in without if arm.policy not in worse], case)
    generated = [arm for arm in arms if arm.kind == GENERATED]
    if not generated:
        refusal = "no policy with generated data took part"
        return Hearing(case, paired, best, None, without, refusal, continued=continued)
    audited = [arm for arm in generated if not not_passed(arm.generators, case.audits)]
    candidate = best_of(audited or generated, case)
    missing = sorted({"real", "placebo"} - {arm.kind for arm in without})
    refusal = ""
    if missing:
        refusal = (
            "nothing can be accepted without a control: no policy of kind "
            f"{' or '.join(missing)} took part"
        )
    elif failed := not_passed(candidate.generators, case.audits):
        refusal = audit_reason(failed, case.audits)
    tried = len(audited) if case.same_people and audited else 1
    return Hearing(case, paired, best, candidate, without, refusal, tried, continued)


def _against_retrain(
    everything: Sequence[Arm], without: Sequence[Arm], case: Case, paired: Paired
) -> list[dict[str, Any]]:
    """Each of a recommender's arms that goes on from the champion against its full retrain on real
    data; none without one.

    Each has a chance to pass by luck: the level is divided by how many there are in the run.
    """
    tests = sum(arm.continues and arm.kind != GENERATED for arm in everything)
    in_full = [arm for arm in without if arm.kind == "real" and not arm.continues]
    if not in_full:
        return []
    retrain = best_of(in_full, case)
    return [
        _compared(case, paired, arm, retrain, CONTINUED, OVERALL, tests)
        for arm in without
        if arm.continues
    ]


def not_passed(generators: Iterable[str], audits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those whose audit failed or is missing."""
    return [name for name in generators if not audits.get(name, {}).get("passed", False)]


def best_of(arms: Sequence[Arm], case: Case) -> Arm:
    """The best on validation users; of equals the one that needs less: real data, then placebos,
    then generators, and of each kind what trains in full before what needs the champion."""
    order = ("real", "placebo", GENERATED)
    return max(
        sorted(arms, key=lambda arm: (order.index(arm.kind), arm.continues)),
        key=lambda arm: case.validation[arm.recommender, arm.policy],
    )
