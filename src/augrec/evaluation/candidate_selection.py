"""One recommender's candidate for the gate: which policy it is, what it is compared with, how
strictly, and what the data could have shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError
from augrec.data.split import TEST
from augrec.evaluation.arm import GENERATED, PLACEBO, REAL, Arm, Measured
from augrec.evaluation.config import GateConfig
from augrec.evaluation.harm import judge_groups
from augrec.evaluation.paired import Paired
from augrec.evaluation.parsimony import Choice, ValidationUsers
from augrec.evaluation.power import detectable
from augrec.evaluation.repetitions import split_of
from augrec.evaluation.user_means import OVERALL

BEATS: Final = "beats"
NON_INFERIOR: Final = "non_inferior"
CONTINUED: Final = "continued"

NO_CANDIDATE: Final = "no_candidate"
NO_CONTROL: Final = "no_control"
AUDIT_FAILED: Final = "audit_failed"


@dataclass(frozen=True)
class GateInputs:
    """Everything the decisions of a run are made from.

    Attributes:
        measured: of every arm.
        validation: the arms on validation users.
        audits: of every generator.
        groups: of test users.
        same_users: whether some of the test users are validation users too.
    """

    gate: GateConfig
    seed: int
    measured: Measured
    validation: ValidationUsers
    audits: Mapping[str, Mapping[str, Any]]
    groups: pl.DataFrame | None
    same_users: bool

    @property
    def target(self) -> str:
        """The users that generated data must help: a slice, or all."""
        return OVERALL if self.gate.target_slice == "all" else self.gate.target_slice

    def paired(self, arms: Sequence[Arm]) -> Paired:
        """One recommender's arms on test users."""
        tables = {
            arm.policy: split_of(self.measured[arm.recommender, arm.policy], TEST) for arm in arms
        }
        return Paired(tables, [arm.policy for arm in arms if arm.kind == GENERATED])


@dataclass(frozen=True)
class CandidateSelection:
    """One recommender's candidate, and what it is compared with.

    Attributes:
        choice: of the policy without generated data.
        candidate: the policy with generated data that may replace it; None: none took part.
        without: the policies without generated data, all of which the candidate must beat.
        refusal: why the candidate cannot be accepted whatever test users show: {"code":
            "no_candidate"}, {"code": "no_control", "kinds": those that are missing} or {"code":
            "audit_failed", "generators": those that failed}; None: it can.
        tried: the number of candidates from which it may have been chosen by luck.
        continued: the comparison of each policy without generated data that continues the champion
            with the full retrain.
    """

    inputs: GateInputs
    paired: Paired
    choice: Choice
    candidate: Arm | None
    without: Sequence[Arm]
    refusal: dict[str, Any] | None = None
    tried: int = 1
    continued: Sequence[dict[str, Any]] = ()

    @property
    def best(self) -> Arm:
        """The policy without generated data that is used unless the candidate is accepted."""
        return self.choice.arm

    def comparisons(self, divided: int) -> list[dict[str, Any]]:
        """Every comparison, its level divided by `divided`."""
        if self.candidate is None:
            return []
        rows = [self._compare(other, BEATS, self.inputs.target, divided) for other in self.without]
        return [*rows, self._compare(self.best, NON_INFERIOR, OVERALL, divided)]

    def passes(self, divided: int) -> bool:
        """Whether every comparison is passed."""
        return all(row["passed"] for row in self.comparisons(divided))

    def groups(self) -> list[dict[str, Any]]:
        """The candidate's effect on each group of users and items, compared with the policy that
        would be used otherwise."""
        assert self.candidate is not None
        return judge_groups(
            self.paired,
            self.candidate.policy,
            self.best.policy,
            self.inputs.gate,
            self.inputs.seed,
            self.inputs.groups,
        )

    def power(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The gain over all comparators that could have been shown on the target slice; None: too
        few users."""
        asked = [row for row in rows if row["question"] == BEATS]
        if any(row["n_users"] < self.inputs.gate.min_users for row in asked):
            return None
        gate, slice_name = self.inputs.gate, self.inputs.target
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
            seed=self.inputs.seed,
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
            self.inputs, self.paired, self.candidate, comparator, question, slice_name, tests
        )


def _compared(
    inputs: GateInputs,
    paired: Paired,
    candidate: Arm,
    comparator: Arm,
    question: str,
    slice_name: str,
    tests: int,
) -> dict[str, Any]:
    """A comparison on test users, its level divided by `tests`: a row of decision.json."""
    gate, confidence = inputs.gate, 1 - (1 - inputs.gate.confidence) / tests
    found = paired.difference(
        candidate.policy,
        comparator.policy,
        gate.metric,
        slice_name,
        confidence=confidence,
        samples=gate.bootstrap_samples * tests,  # keeps the number of resamples in the tails
        seed=inputs.seed,
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


def select_candidate(
    everything: Sequence[Arm], recommender: str, inputs: GateInputs
) -> CandidateSelection:
    """Choose a recommender's candidate, and what it is compared with, on validation users.

    A policy that continues the champion is the best without generated data only where test users do
    not favour the full retrain.

    Args:
        everything: all arms of the run.
        recommender: its name.
        inputs: what was measured.

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
    paired = inputs.paired(arms)
    continued = _against_retrain(everything, without, inputs, paired)
    worse = {row["candidate"] for row in continued if not row["passed"]}
    choice = inputs.validation.policy([arm for arm in without if arm.policy not in worse])
    generated = [arm for arm in arms if arm.kind == GENERATED]
    if not generated:
        refusal = {"code": NO_CANDIDATE}
        return CandidateSelection(inputs, paired, choice, None, without, refusal, 1, continued)
    audited = [arm for arm in generated if not not_passed(arm.generators, inputs.audits)]
    candidate = inputs.validation.best(audited or generated)
    refused = _refusal(candidate, without, inputs)
    tried = len(audited) if inputs.same_users and audited else 1
    return CandidateSelection(inputs, paired, choice, candidate, without, refused, tried, continued)


def _refusal(candidate: Arm, without: Sequence[Arm], inputs: GateInputs) -> dict[str, Any] | None:
    """See `CandidateSelection`."""
    if missing := sorted({REAL, PLACEBO} - {arm.kind for arm in without}):
        return {"code": NO_CONTROL, "kinds": missing}
    if failed := not_passed(candidate.generators, inputs.audits):
        return {"code": AUDIT_FAILED, "generators": failed}
    return None


def _against_retrain(
    everything: Sequence[Arm], without: Sequence[Arm], inputs: GateInputs, paired: Paired
) -> list[dict[str, Any]]:
    """The comparison of each of a recommender's arms that continues the champion with its full
    retrain on real data; none without one.

    Each has a chance to pass by luck: the level is divided by their number in the run.
    """
    tests = sum(arm.continues and arm.kind != GENERATED for arm in everything)
    in_full = [arm for arm in without if arm.kind == REAL and not arm.continues]
    if not in_full:
        return []
    retrain = inputs.validation.policy(in_full).arm
    return [
        _compared(inputs, paired, arm, retrain, CONTINUED, OVERALL, tests)
        for arm in without
        if arm.continues
    ]


def not_passed(generators: Iterable[str], audits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those whose audit failed or is missing."""
    return [name for name in generators if not audits.get(name, {}).get("passed", False)]
