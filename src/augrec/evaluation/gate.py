"""The gate: does data made by a generator earn its place? Identical data never does, and neither does a placebo's gain.

For each recommender the best policy without generated data and the best one with it are chosen on *validation* users.
The latter, the candidate, is accepted if on *test* users

1. the audits of every generator it uses have passed,
2. on the target slice it beats **every** policy without generated data, placebos included: the lower end of the paired
   confidence interval of the difference lies above 0, and
3. over all users it is not inferior to the best policy without generated data: that lower end lies above
   -margin × the comparator's mean.

With fewer than `min_users` nothing is decided, so nothing is accepted. The winner is, among the policies chosen for each
recommender, the best on validation users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import polars as pl
from pydantic import Field

from augrec.data.config import Section
from augrec.data.split import TEST, VALID
from augrec.errors import ConfigError, InputError
from augrec.evaluation._words import explain, reason
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import OVERALL, summarise

SCHEMA: Final = 1
BEATS: Final = "beats"
NON_INFERIOR: Final = "non_inferior"
_GENERATED: Final = "generated"


class GateConfig(Section):
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
    """Largest tolerated relative loss over all users."""
    min_users: int = Field(default=20, ge=2)
    """A group with fewer users decides nothing."""


@dataclass(frozen=True)
class Arm:
    """One recommender trained on one policy's data.

    Attributes:
        recommender, policy: their names.
        kind: "real", "placebo" or "generated": the policy's.
        generators: whose samples the policy uses; each must have passed its audit.
        catalogue: metrics of the catalogue as a whole, by split.
        beside: more to keep with the arm's numbers, by split: shares of items, groups of users, periods.
    """

    recommender: str
    policy: str
    kind: str
    generators: tuple[str, ...] = ()
    catalogue: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Case:
    """All that the decisions are made from."""

    gate: GateConfig
    seed: int
    test: Mapping[tuple[str, str], pl.DataFrame]
    validation: Mapping[tuple[str, str], float]
    audits: Mapping[str, Mapping[str, Any]]

    @property
    def target(self) -> str:
        """Whom synthetic data must help: a slice, or everybody."""
        return OVERALL if self.gate.target_slice == "all" else self.gate.target_slice


def decide(
    arms: Sequence[Arm],
    per_user: Mapping[tuple[str, str], pl.DataFrame],
    audits: Mapping[str, Mapping[str, Any]],
    gate: GateConfig,
    seed: int,
) -> dict[str, Any]:
    """Decide which policy each recommender is trained with, and which model wins.

    Args:
        arms: everything that was trained and measured.
        per_user: for each (recommender, policy) the rows of `augrec.evaluation.metrics.evaluate` plus `split`, "valid"
            or "test"; the same cases for all.
        audits: for each generator {"passed": bool, "failed_limits": [...]}; a missing audit counts as failed.
        gate: the limits.
        seed: of the bootstrap. Names take no part in it: renaming a policy changes no number.

    Returns:
        decision.json: verdict, sentences, winner, every arm's numbers, every comparison, every recommender's choice.

    Raises:
        ConfigError: a recommender has no policy without generated data to compare with, or there is no arm.
        InputError: an arm was not measured, or two arms were measured on different users.
    """
    summaries = _summaries(arms, per_user, gate.metric)
    case = _Case(
        gate=gate,
        seed=seed,
        test={key: table.filter(pl.col("split") == TEST) for key, table in per_user.items()},
        validation={key: _value(summary[VALID], gate.metric) for key, summary in summaries.items()},
        audits=audits,
    )
    comparisons: list[dict[str, Any]] = []
    choices: list[dict[str, Any]] = []
    for recommender in dict.fromkeys(arm.recommender for arm in arms):
        choice, compared = _choose([arm for arm in arms if arm.recommender == recommender], case)
        choices.append(choice)
        comparisons.extend(compared)
    chosen = {(choice["recommender"], choice["chosen"]) for choice in choices}
    winner = _best([arm for arm in arms if (arm.recommender, arm.policy) in chosen], case)
    decision = {
        "schema": SCHEMA,
        "verdict": _GENERATED if winner.kind == _GENERATED else "no_generated",
        "winner": _named(winner) | {"model": f"models/recommenders/{winner.recommender}/{winner.policy}"},
        "gate": gate.model_dump(),
        "seed": seed,
        "arms": [_named(arm) | summaries[arm.recommender, arm.policy] for arm in arms],
        "comparisons": comparisons,
        "recommenders": choices,
        "audits": {
            name: {"passed": bool(audit["passed"]), "failed_limits": list(audit["failed_limits"])}
            for name, audit in sorted(audits.items())
        },
    }
    return decision | {"sentences": explain(decision)}


def _named(arm: Arm) -> dict[str, str]:
    return {"recommender": arm.recommender, "policy": arm.policy, "kind": arm.kind}


def _summaries(
    arms: Sequence[Arm], per_user: Mapping[tuple[str, str], pl.DataFrame], metric: str
) -> dict[tuple[str, str], dict[str, Any]]:
    if not arms:
        raise ConfigError("there is nothing to decide between", where="params.yaml, run",
                          fix="name at least one recommender and one policy")  # fmt: skip
    found = {}
    for arm in arms:
        key = arm.recommender, arm.policy
        if key not in per_user:
            raise InputError(f"{arm.recommender} with {arm.policy} was not measured", where="reports/evaluation",
                             fix="run the evaluate stage for it")  # fmt: skip
        if metric not in per_user[key].columns:
            raise ConfigError(f"the metric {metric!r} was not measured", where="params.yaml, gate.metric",
                              fix="add its cutoff to evaluation.cutoffs, or choose another")  # fmt: skip
        found[key] = {
            split: summarise(per_user[key].filter(pl.col("split") == split))
            | {"catalogue": dict(arm.catalogue.get(split, {})), **arm.beside.get(split, {})}
            for split in (VALID, TEST)
        }
    return found


def _choose(arms: Sequence[Arm], case: _Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One recommender's choice, and the comparisons it rests on."""
    without = [arm for arm in arms if arm.kind != _GENERATED]
    if not without:
        raise ConfigError(
            f"{arms[0].recommender} has no policy without generated data to be compared with",
            where="params.yaml, run.policies",
            fix="add none, and the placebos, to run.policies",
        )
    best = _best(without, case)
    generated = [arm for arm in arms if arm.kind == _GENERATED]
    audited = [arm for arm in generated if not _failed_audits(arm, case)]
    choice: dict[str, Any] = {
        "recommender": best.recommender,
        "best_without_generated": best.policy,
        "candidate": None,
        "accepted": False,
        "chosen": best.policy,
    }
    if not generated:
        return choice | {"reason": "no policy with generated data took part"}, []
    candidate = _best(audited or generated, case)
    compared = [_compare(candidate, other, BEATS, case.target, case) for other in without]
    compared.append(_compare(candidate, best, NON_INFERIOR, OVERALL, case))
    missing = sorted({"real", "placebo"} - {arm.kind for arm in without})
    if missing:
        why = f"nothing can be accepted without a control: no policy of kind {' or '.join(missing)} took part"
        return choice | {"candidate": candidate.policy, "reason": why}, compared
    failed_audits = _failed_audits(candidate, case)
    accepted = not failed_audits and all(row["passed"] for row in compared)
    return choice | {
        "candidate": candidate.policy,
        "accepted": accepted,
        "chosen": candidate.policy if accepted else best.policy,
        "reason": reason(compared, failed_audits, case.audits, case.gate.min_users),
    }, compared


def _compare(candidate: Arm, comparator: Arm, question: str, slice_name: str, case: _Case) -> dict[str, Any]:
    found = paired_difference(
        case.test[candidate.recommender, candidate.policy],
        case.test[comparator.recommender, comparator.policy],
        case.gate.metric,
        slice_name=slice_name,
        confidence=case.gate.confidence,
        samples=case.gate.bootstrap_samples,
        seed=case.seed,
    )
    passed = False
    if (
        found.n_users >= case.gate.min_users
        and found.ci_low is not None
        and found.comparator_mean is not None
    ):
        margin = case.gate.non_inferiority_margin if question == NON_INFERIOR else 0.0
        passed = found.ci_low > -margin * found.comparator_mean
    return {
        "recommender": candidate.recommender,
        "candidate": candidate.policy,
        "comparator": comparator.policy,
        "slice": slice_name,
        "metric": case.gate.metric,
        "question": question,
        **asdict(found),
        "passed": passed,
    }


def _failed_audits(arm: Arm, case: _Case) -> list[str]:
    return [name for name in arm.generators if not case.audits.get(name, {}).get("passed", False)]


def _best(arms: Sequence[Arm], case: _Case) -> Arm:
    """The best on validation users; of equals the one that needs less: real data, then placebos, then generators."""
    order = ("real", "placebo", _GENERATED)
    return max(
        sorted(arms, key=lambda arm: order.index(arm.kind)),
        key=lambda arm: case.validation[arm.recommender, arm.policy],
    )


def _value(summary: Mapping[str, Any], metric: str) -> float:
    value = summary[OVERALL].get(metric)
    return float("-inf") if value is None else float(value)
