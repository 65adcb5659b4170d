"""The gate: does data made by a generator improve what is served? Identical data is never accepted,
nor is a gain that a placebo gives too.

For each recommender a policy without generated data and the best one with it are chosen on
*validation* users, by the mean over repetitions of their training: of the former the simplest that
is about as good as the best (`augrec.evaluation.parsimony`), of the latter the best, which must
prove itself. This candidate is accepted if on *test* users

1. the audits of every generator it uses have passed,
2. on the target slice it beats **every** policy without generated data, placebos included: the
   lower end of the paired confidence interval of the difference lies above 0,
3. over all users it is not inferior to the policy that was chosen without generated data: that
   lower end lies above -margin × the comparator's mean, and
4. against that policy no group of users, slice of activity or group of items is shown to lose more
   than the margin (`augrec.evaluation.harm`).

**A policy that continues the champion** (`continue_champion`) without generated data must pass rule
3 against the full retrain, the choice among the real-data policies that train in full. However good
it is on validation users, it can be chosen only where a loss beyond the margin over all test users
is ruled out. It remains among what a candidate must beat. With generated data it must pass rules 1
to 4, as any other.

With fewer than `min_users` nothing is decided, so nothing is accepted. The winner is chosen on
validation users among the policies chosen for each recommender: the best, or the cheapest that is
about as good.

**How often noise passes.** Several things are compared; this is what each of them costs.

* *Comparators.* All must be beaten, so a candidate passes wrongly only where it wrongly passes the
  very comparison that is truly lost. An intersection-union test has the level of one of its parts,
  without a correction (Berger 1982, Technometrics 24, 295-300); nor do rules 3 and 4 need one, that
  can only refuse.
* *Recommenders.* Each candidate is another chance to be accepted by luck: Holm's correction over
  the recommenders whose candidate may be accepted (`augrec.evaluation.multiple`).
* *Policies with generated data.* The candidate is chosen among them by validation users, which is
  independent of chance in other, test users. Where a protocol evaluates the same users twice, it is
  not: then the level is divided by their number too.
* *Continuing.* Each policy that continues the champion is a chance to pass for a full retrain: the
  level is divided by their number in the run (Bonferroni).
* *Training.* Luck of the draw is no gain: its variance over repetitions goes into every interval
  (`augrec.evaluation.paired`).

So over a run in which nothing generated is of worth, something is accepted with a probability of at
most (1 - confidence) / 2. The intervals of a run are for its decision: those of slices and groups
that the report draws are one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import Columns as C
from augrec.data.split import TEST, VALID
from augrec.evaluation.arm import GENERATED, Arm, Measured
from augrec.evaluation.candidate_selection import (
    BEATS,
    CandidateSelection,
    GateInputs,
    select_candidate,
)
from augrec.evaluation.config import GateConfig
from augrec.evaluation.harm import LOST
from augrec.evaluation.multiple import holm
from augrec.evaluation.paired import Paired
from augrec.evaluation.parsimony import ValidationUsers
from augrec.evaluation.repetitions import mean_of, repeated_means, split_of
from augrec.evaluation.user_means import OVERALL, summarise

SCHEMA: Final = 3

ACCEPTED: Final = "accepted"
TOO_FEW_USERS: Final = "too_few_users"
NOT_BETTER: Final = "not_better"
INFERIOR: Final = "inferior"
GROUP_LOST: Final = "group_lost"

Repeated = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]
"""(recommender, policy) -> split -> the means of all of its trainings."""


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
        groups: of test users, see `augrec.evaluation.user_means.groups_of_users`; None: there are
            no attributes of users.

    Returns:
        decision.json but for the sentences, which `augrec.reporting.decision_words` adds: verdict,
        winner, every arm's numbers, every comparison, every recommender's choice. A comparison's
        "question" is "beats", "non_inferior" or, of fine-tuning with the full retrain, "continued".
        An arm's "valid" and "test" are means over its trainings, its "repetitions" tells each;
        comparisons are of the same means. A choice's "reason" is a code with
        what it is about, see `_outcome` and `CandidateSelection.refusal`.

    Raises:
        ConfigError: a recommender has no policy without generated data to compare with, or there is
            no arm.
        InputError: an arm was not measured, two arms were measured on different users, or took
            unequal gradient steps.
    """
    _check(arms, per_user, gate.metric)
    repeated = _repeated(arms, per_user, gate.metric)
    inputs = _inputs(arms, per_user, repeated, audits, gate, seed, groups)
    selections = [
        select_candidate(arms, recommender, inputs)
        for recommender in dict.fromkeys(arm.recommender for arm in arms)
    ]
    choices, comparisons = _choose(selections)
    chosen = {(choice["recommender"], choice["chosen"]) for choice in choices}
    among = inputs.validation.recommender(
        [arm for arm in arms if (arm.recommender, arm.policy) in chosen]
    )
    winner = among.arm
    return {
        "schema": SCHEMA,
        "verdict": GENERATED if winner.kind == GENERATED else "no_generated",
        "winner": _named(winner)
        | {"model": f"models/recommenders/{winner.recommender}/{winner.policy}"},
        "selection": among.as_json(),
        "gate": gate.model_dump(),
        "seed": seed,
        "repetitions": max(len(per_user[arm.recommender, arm.policy]) for arm in arms),
        "arms": [_entry(arm, per_user, repeated) for arm in arms],
        "comparisons": comparisons,
        "recommenders": choices,
        "audits": {
            name: {"passed": bool(audit["passed"]), "failed_limits": list(audit["failed_limits"])}
            for name, audit in sorted(audits.items())
        },
    }


def _repeated(arms: Sequence[Arm], per_user: Measured, metric: str) -> Repeated:
    return {
        (arm.recommender, arm.policy): {
            split: repeated_means(split_of(per_user[arm.recommender, arm.policy], split), metric)
            for split in (VALID, TEST)
        }
        for arm in arms
    }


def _inputs(
    arms: Sequence[Arm],
    per_user: Measured,
    repeated: Repeated,
    audits: Mapping[str, Mapping[str, Any]],
    gate: GateConfig,
    seed: int,
    groups: pl.DataFrame | None,
) -> GateInputs:
    return GateInputs(
        gate=gate,
        seed=seed,
        measured=per_user,
        validation=ValidationUsers(
            gate=gate,
            seed=seed,
            paired=_on_validation_users(arms, per_user),
            means={key: _value(splits[VALID][OVERALL]["mean"]) for key, splits in repeated.items()},
        ),
        audits=audits,
        groups=groups,
        same_users=_same_users(next(iter(per_user.values()))[0]),
    )


def _on_validation_users(arms: Sequence[Arm], per_user: Measured) -> dict[str, Paired]:
    """Each recommender's arms."""
    return {
        recommender: Paired(
            {
                arm.policy: split_of(per_user[arm.recommender, arm.policy], VALID)
                for arm in arms
                if arm.recommender == recommender
            },
            [arm.policy for arm in arms if arm.kind == GENERATED],
        )
        for recommender in dict.fromkeys(arm.recommender for arm in arms)
    }


def _entry(arm: Arm, per_user: Measured, repeated: Repeated) -> dict[str, Any]:
    """An arm's entry in decision.json."""
    key = arm.recommender, arm.policy
    more = {
        "continues": arm.continues,
        "cost": arm.cost,
        "repetitions": repeated[key],
        "regularisation": dict(arm.regularisation),
        "membership": None if arm.membership is None else dict(arm.membership),
    }
    return _named(arm) | _summaries(arm, mean_of(per_user[key])) | more


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
        | {"catalogue": dict(arm.catalogue.get(split, {})), **arm.breakdowns.get(split, {})}
        for split in (VALID, TEST)
    }


def _same_users(table: pl.DataFrame) -> bool:
    users = [table.filter(pl.col("split") == split)[C.USER].unique() for split in (VALID, TEST)]
    return bool(users[0].is_in(users[1].implode()).any())


def _named(arm: Arm) -> dict[str, str]:
    return {"recommender": arm.recommender, "policy": arm.policy, "kind": arm.kind}


def _choose(
    selections: Sequence[CandidateSelection],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every recommender's choice, and the comparisons it rests on."""
    open_ = {one.best.recommender: one for one in selections if not one.refusal}
    divided = holm(list(open_), lambda name, tests: open_[name].passes(tests))
    choices: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    for selection in selections:
        best, candidate = selection.best, selection.candidate
        choice: dict[str, Any] = {
            "recommender": best.recommender,
            "best_without_generated": best.policy,
            "selection": selection.choice.as_json(),
            "candidate": None if candidate is None else candidate.policy,
            "accepted": False,
            "chosen": best.policy,
            "reason": selection.refusal,
            "power": None,
            "groups": [],
        }
        if candidate is not None:
            rows = selection.comparisons(divided.get(best.recommender, max(1, len(open_))))
            groups = selection.groups()
            outcome = selection.refusal or _outcome(rows, groups, selection.inputs.gate.min_users)
            accepted = outcome["code"] == ACCEPTED
            choice |= {
                "accepted": accepted,
                "chosen": candidate.policy if accepted else best.policy,
                "reason": outcome,
                "power": selection.power(rows),
                "groups": groups,
            }
            comparisons.extend(rows)
        comparisons.extend(selection.continued)
        choices.append(choice)
    return choices, comparisons


def _outcome(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]], min_users: int
) -> dict[str, Any]:
    """Whether a candidate is accepted: the first rule that it broke, or none.

    {"code": "too_few_users", "slices": {slice: users}}, {"code": "not_better", "comparators": those
    not shown to be beaten, "all": whether that is every one}, {"code": "inferior", "comparator"},
    {"code": "group_lost", "groups": rows of the groups}, or {"code": "accepted"}.
    """
    if few := {row["slice"]: row["n_users"] for row in rows if row["n_users"] < min_users}:
        return {"code": TOO_FEW_USERS, "slices": few}
    beats = [row for row in rows if row["question"] == BEATS]
    if unbeaten := [row["comparator"] for row in beats if not row["passed"]]:
        return {
            "code": NOT_BETTER,
            "comparators": unbeaten,
            "all": len(unbeaten) == len(beats),
        }
    if inferior := [row["comparator"] for row in rows if not row["passed"]]:
        return {"code": INFERIOR, "comparator": inferior[0]}
    if lost := [row for row in groups if row["verdict"] == LOST]:
        return {"code": GROUP_LOST, "groups": lost}
    return {"code": ACCEPTED}


def _value(value: float | None) -> float:
    return float("-inf") if value is None else value
