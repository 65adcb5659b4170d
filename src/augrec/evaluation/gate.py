"""The gate: does data made by a generator earn its place? Identical data never does, and neither
does a placebo's gain.

For each recommender the best policy without generated data and the best one with it are chosen on
*validation* users, by the mean over repetitions of their training. The latter, the candidate, is
accepted if on *test* users

1. the audits of every generator it uses have passed,
2. on the target slice it beats **every** policy without generated data, placebos included: the
    lower end of the paired
   confidence interval of the difference lies above 0,
3. over all users it is not inferior to the best policy without generated data: that lower end lies
    above
   -margin × the comparator's mean, and
4. against that policy no group of users, slice of activity or group of items is shown to lose more
    than the margin
   (`augrec.evaluation.harm`).

**A policy that goes on from the champion** (`continue_champion`) without generated data is held to
rule 3 against the full retrain, the best on validation users of the real-data policies that train
in full. However good it is on validation users, it is the best without generated data, and can be
chosen, only where a loss beyond the margin over all test users is ruled out. It remains among what
a candidate must beat. With generated data it is held to rules 1 to 4, as any.

With fewer than `min_users` nothing is decided, so nothing is accepted. The winner is, among the
policies chosen for each recommender, the best on validation users.

**How often noise passes.** Several things are compared; this is what each of them costs.

* *Comparators.* All must be beaten, so a candidate passes wrongly only where it wrongly passes the
    very comparison that is
  truly lost. An intersection-union test has the level of one of its parts, without a correction
  (Berger 1982, Technometrics 24, 295-300); nor do rules 3 and 4 need one, that can only refuse.
* *Recommenders.* Each candidate is another chance to be accepted by luck: Holm's correction over
    the recommenders whose
  candidate may be accepted (`augrec.evaluation.multiple`).
* *Policies with generated data.* The candidate is chosen among them by validation users, which
    tells nothing of the luck of
  other, test users. Where a protocol judges the same people twice, it does: then the level is
  divided by their number too.
* *Continuing.* Each policy that goes on from the champion is a chance to pass for a full retrain:
    the level is divided by their
  number in the run (Bonferroni).
* *Training.* Luck of the draw is no gain: its variance over repetitions goes into every interval
    (`augrec.evaluation.paired`).

So over a run in which nothing generated is of worth, something is accepted with a chance of at most
(1 - confidence) / 2. The intervals of a run are for its decision: those of slices and groups that
the report draws are one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import Columns as C
from augrec.data.split import TEST, VALID
from augrec.evaluation._words import explain, reason
from augrec.evaluation.harm import LOST
from augrec.evaluation.hearing import (
    GENERATED,
    Arm,
    Case,
    GateConfig,
    Hearing,
    Measured,
    best_of,
    hear,
)
from augrec.evaluation.metrics import OVERALL, summarise
from augrec.evaluation.multiple import holm
from augrec.evaluation.repetitions import split_of, told

__all__ = ["Arm", "GateConfig", "Measured", "decide"]

SCHEMA: Final = 2


Repeated = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]
"""(recommender, policy) -> split -> what all of its trainings came to."""


def decide(
    arms: Sequence[Arm],
    per_user: Measured,
    audits: Mapping[str, Mapping[str, Any]],
    gate: GateConfig,
    seed: int,
    groups: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Decide which policy each recommender is trained with, and which model wins.

    Validation users choose, test users can refuse: generated data by the four rules above, and
    fine-tuning, an arm that `continues`, by one: it is chosen over the full retrain only if it is
    shown to lose no more than the margin.

    Args:
        arms: everything that was trained and measured.
        per_user: for each (recommender, policy) and repetition of its training the rows of
            `augrec.evaluation.metrics.evaluate` plus `split`, "valid" or "test"; the same cases for
            all.
        audits: for each generator {"passed": bool, "failed_limits": [...]}; a missing audit counts
            as failed.
        gate: the limits.
        seed: of the bootstrap. Names take no part in it: renaming a policy changes no number.
        groups: of test users, see `augrec.evaluation.summary.groups_of_users`; None: nothing is
            known of them.

    Returns:
        decision.json: verdict, sentences, winner, every arm's numbers, every comparison, every
            recommender's choice. A
        comparison's "question" is "beats", "non_inferior" or, of fine-tuning with the full retrain,
        "continued". An arm's "valid" and "test" are of the model that may be promoted, its
        "repetitions" of all trainings; comparisons are of the means over repetitions.

    Raises:
        ConfigError: a recommender has no policy without generated data to compare with, or there is
            no arm.
        InputError: an arm was not measured, two arms were measured on different users, or took
            unequal gradient steps.
    """
    _check(arms, per_user, gate.metric)
    repeated = _repeated(arms, per_user, gate.metric)
    case = _case(per_user, repeated, audits, gate, seed, groups)
    hearings = [
        hear(arms, recommender, case)
        for recommender in dict.fromkeys(arm.recommender for arm in arms)
    ]
    choices, comparisons = _judge(hearings)
    chosen = {(choice["recommender"], choice["chosen"]) for choice in choices}
    winner = best_of([arm for arm in arms if (arm.recommender, arm.policy) in chosen], case)
    decision = {
        "schema": SCHEMA,
        "verdict": GENERATED if winner.kind == GENERATED else "no_generated",
        "winner": _named(winner)
        | {"model": f"models/recommenders/{winner.recommender}/{winner.policy}"},
        "gate": gate.model_dump(),
        "seed": seed,
        "repetitions": max(len(per_user[arm.recommender, arm.policy]) for arm in arms),
        "arms": [_told_of(arm, per_user, repeated) for arm in arms],
        "comparisons": comparisons,
        "recommenders": choices,
        "audits": {
            name: {"passed": bool(audit["passed"]), "failed_limits": list(audit["failed_limits"])}
            for name, audit in sorted(audits.items())
        },
    }
    return decision | {"sentences": explain(decision)}


def _repeated(arms: Sequence[Arm], per_user: Measured, metric: str) -> Repeated:
    """What each arm's trainings came to, by split."""
    return {
        (arm.recommender, arm.policy): {
            split: told(split_of(per_user[arm.recommender, arm.policy], split), metric)
            for split in (VALID, TEST)
        }
        for arm in arms
    }


def _case(
    per_user: Measured,
    repeated: Repeated,
    audits: Mapping[str, Mapping[str, Any]],
    gate: GateConfig,
    seed: int,
    groups: pl.DataFrame | None,
) -> Case:
    return Case(
        gate=gate,
        seed=seed,
        measured=per_user,
        validation={
            key: _value(splits[VALID][OVERALL]["mean"]) for key, splits in repeated.items()
        },
        audits=audits,
        groups=groups,
        same_people=_same_people(next(iter(per_user.values()))[0]),
    )


def _told_of(arm: Arm, per_user: Measured, repeated: Repeated) -> dict[str, Any]:
    """An arm's entry in decision.json."""
    key = arm.recommender, arm.policy
    more = {
        "continues": arm.continues,
        "repetitions": repeated[key],
        "regularisation": dict(arm.regularisation),
    }
    return _named(arm) | _summaries(arm, per_user[key][0]) | more


def _check(arms: Sequence[Arm], per_user: Measured, metric: str) -> None:
    if not arms:
        raise ConfigError(
            "there is nothing to decide between",
            where="params.yaml, run",
            fix="name at least one recommender and one policy",
        )
    steps: dict[str, int | None] = {}
    for arm in arms:
        key = arm.recommender, arm.policy
        if not per_user.get(key):
            raise InputError(
                f"{arm.recommender} with {arm.policy} was not measured",
                where="reports/evaluation",
                fix="run the evaluate stage for it",
            )
        if any(metric not in table.columns for table in per_user[key]):
            raise ConfigError(
                f"the metric {metric!r} was not measured",
                where="params.yaml, gate.metric",
                fix="add its cutoff to evaluation.cutoffs, or choose another",
            )
        if steps.setdefault(arm.recommender, arm.steps) != arm.steps:
            raise InputError(
                f"{arm.recommender} took {arm.steps} gradient steps on {arm.policy} and "
                f"{steps[arm.recommender]} elsewhere",
                where="models/recommenders",
                fix="train all its policies with the same `steps`: longer training is no gain of "
                "the data",
            )


def _summaries(arm: Arm, table: pl.DataFrame) -> dict[str, Any]:
    return {
        split: summarise(table.filter(pl.col("split") == split))
        | {"catalogue": dict(arm.catalogue.get(split, {})), **arm.beside.get(split, {})}
        for split in (VALID, TEST)
    }


def _same_people(table: pl.DataFrame) -> bool:
    users = [table.filter(pl.col("split") == split)[C.USER].unique() for split in (VALID, TEST)]
    return bool(users[0].is_in(users[1].implode()).any())


def _named(arm: Arm) -> dict[str, str]:
    return {"recommender": arm.recommender, "policy": arm.policy, "kind": arm.kind}


def _judge(hearings: Sequence[Hearing]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every recommender's choice, and the comparisons it rests on."""
    open_ = {hearing.best.recommender: hearing for hearing in hearings if not hearing.refusal}
    divided = holm(list(open_), lambda name, tests: open_[name].passes(tests))
    choices: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    for hearing in hearings:
        best, candidate = hearing.best, hearing.candidate
        choice: dict[str, Any] = {
            "recommender": best.recommender,
            "best_without_generated": best.policy,
            "candidate": None if candidate is None else candidate.policy,
            "accepted": False,
            "chosen": best.policy,
            "reason": hearing.refusal,
            "power": None,
            "groups": [],
        }
        if candidate is not None:
            rows = hearing.comparisons(divided.get(best.recommender, max(1, len(open_))))
            groups = hearing.groups()
            accepted = (
                not hearing.refusal
                and all(row["passed"] for row in rows)
                and not any(row["verdict"] == LOST for row in groups)
            )
            choice |= {
                "accepted": accepted,
                "chosen": candidate.policy if accepted else best.policy,
                "reason": hearing.refusal or reason(rows, groups, hearing.case.gate.min_users),
                "power": hearing.power(rows),
                "groups": groups,
            }
            comparisons.extend(rows)
        comparisons.extend(hearing.continued)
        choices.append(choice)
    return choices, comparisons


def _value(value: float | None) -> float:
    return float("-inf") if value is None else value
