"""Which strategy serves groups of a kind and size: chosen on validation, held against placebos on
test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from augrec.core.seeds import derive, rng
from augrec.data.group_choices import GroupCase, Histories
from augrec.data.stored_groups import ALL, AVERAGE, KINDS, SIZES, size_class
from augrec.evaluation.group_gate import judge
from augrec.groups.base import Strategy, find, names
from augrec.groups.choices import Choices
from augrec.groups.held_out import others
from augrec.groups.judged import (
    METRIC,
    REAL,
    SHUFFLED,
    STRANGERS,
    Judged,
    alone,
    judged,
    quality,
    ranked,
    served,
)
from augrec.groups.placebos import Groups, shuffled, strangers
from augrec.recommenders.base import Recommender

LEARNED: Final = tuple(name for name in names() if find(name).learns)
_FOLDS: Final = 3
_BESIDE: Final = 100
_LEAST_CHOICES: Final = 50
_MOST_CASES, _MOST_CELLS = 1_000, 10_000_000


@dataclass(frozen=True)
class Evidence:
    """What a trial looks at.

    Attributes:
        valid, test: groups at the moment of a choice, see `augrec.data.group_choices.group_cases`.
        histories: of their members.
        members: {group id: ids of members}.
        users: whom placebos of strangers are drawn from.
        popularity: {"valid" or "test": how often groups had chosen each item before, (n,)}.
    """

    valid: Sequence[GroupCase]
    test: Sequence[GroupCase]
    histories: Histories
    members: Groups
    users: Sequence[str]
    popularity: Mapping[str, np.ndarray]


def run_trial(
    model: Recommender,
    evidence: Evidence,
    *,
    min_groups: int,
    simpler_within: float,
    confidence: float,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Choose a strategy for each kind and size of group, and let the gate decide.

    On validation the strategy with the largest mean NDCG@10 is chosen; `average` where that leads
    by no more than `simpler_within` standard errors. What is learned is judged on groups that it
    did not learn from. On test, the chosen one is promoted only if it beats, by interval over
    groups, one member alone, shuffled members, and `average` if it is another. Else `average`
    serves.

    Args:
        model: the recommender that would serve.
        evidence: groups, their choices and members.
        min_groups: fewer on validation or test decide nothing.
        simpler_within: see above.
        confidence, samples: of the intervals.
        seed: of placebos, draws and intervals.

    Returns:
        metric; n: cases by period; rows: one for each kind and for "all" and each size, see
        `_row`; weights: {kind: what `attention` learned}.
    """
    limit = min(_MOST_CASES, max(2 * min_groups, _MOST_CELLS // len(model.items)))
    arrangements = {
        REAL: evidence.members,
        SHUFFLED: shuffled(evidence.members, seed),
        STRANGERS: strangers(evidence.members, evidence.users, seed),
    }
    valid, test = (
        list(judged(model, _some(cases, limit, seed), evidence.histories, arrangements))
        for cases in (evidence.valid, evidence.test)
    )
    rows: list[dict[str, Any]] = []
    weights: dict[str, list[float]] = {}
    for kind in KINDS:
        learned = {name: _learned(_of(valid, kind), kind, name, seed) for name in (REAL, SHUFFLED)}
        if learned[REAL] is not None:
            weights[kind] = learned[REAL].weights.tolist()  # type: ignore[attr-defined]
        measured = _Measured(
            kind,
            _validated(_of(valid, kind), kind, evidence.popularity["valid"], seed),
            _tested(_of(test, kind), kind, learned, evidence.popularity["test"]),
            [size_class(one.size) for one in _of(valid, kind)],
            [size_class(one.size) for one in _of(test, kind)],
            _tastes(_of(test, kind), kind, learned[REAL]),
        )
        for size in (ALL, *SIZES):
            row = _row(measured, size, min_groups, simpler_within, confidence, samples, seed)
            if row is not None:
                rows.append(row)
    return {
        "metric": METRIC,
        "n": {"valid": len(valid), "test": len(test)},
        "rows": rows,
        "weights": weights,
    }


@dataclass(frozen=True)
class _Measured:
    """NDCG@10 of every group of a kind, by strategy and control; the groups' sizes; and by strategy
    how members' own tastes are served, (g, 3), nan where nothing is known."""

    kind: str
    valid: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]
    valid_sizes: Sequence[str]
    test_sizes: Sequence[str]
    tastes: Mapping[str, np.ndarray]


def _row(
    found: _Measured,
    size: str,
    min_groups: int,
    simpler_within: float,
    confidence: float,
    samples: int,
    seed: int,
) -> dict[str, Any] | None:
    """Kind, size, numbers of groups, means by strategy and control, the strategy chosen, the
    differences that the gate looks at, whether it is promoted, and what serves; None: too few
    groups to choose by, of this size.
    """
    on_valid, on_test = (
        np.array([size in (ALL, one) for one in sizes], np.bool_)
        for sizes in (found.valid_sizes, found.test_sizes)
    )
    enough = min(on_valid.sum(), on_test.sum()) >= min_groups
    if not enough and size != ALL:
        return None
    valid = {name: values[on_valid] for name, values in found.valid.items()}
    test = {name: values[on_test] for name, values in found.test.items()}
    row = {
        "kind": found.kind,
        "size": size,
        "n_valid": int(on_valid.sum()),
        "n_test": int(on_test.sum()),
        "valid": _means(valid),
        "test": _means(test),
        "members": {name: _over_groups(one[on_test]) for name, one in found.tastes.items()},
        "chosen": None,
        "differences": {},
        "promoted": False,
        "serves": AVERAGE,
    }
    if not enough:
        return row
    chosen = _choice(valid, simpler_within)
    controls = {
        "alone": test["alone"],
        SHUFFLED: test[f"{chosen}, {SHUFFLED}"],
        **({AVERAGE: test[AVERAGE]} if chosen != AVERAGE else {}),
    }
    decision = judge(
        test[chosen], controls, confidence=confidence, samples=samples, seed=derive(seed, size)
    )
    return row | {
        "chosen": chosen,
        "differences": {name: list(one) for name, one in decision.differences.items()},
        "promoted": decision.promoted,
        "serves": chosen if decision.promoted else AVERAGE,
    }


def _choice(valid: Mapping[str, np.ndarray], simpler_within: float) -> str:
    able = {name: values for name, values in valid.items() if name in names()}
    best = max(able, key=lambda name: (able[name].mean(), name == AVERAGE))
    lead = able[best] - able[AVERAGE]
    error = lead.std(ddof=1) / np.sqrt(len(lead))
    return best if lead.mean() > simpler_within * error else AVERAGE


def _validated(
    cases: Sequence[Judged], kind: str, popularity: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    found = {
        name: _qualities(find(name)(), cases, kind, REAL) for name in names() if name not in LEARNED
    }
    if len(cases) >= _FOLDS:
        fold = rng(seed, "folds of groups").permutation(len(cases)) % _FOLDS
        values = np.full(len(cases), np.nan)
        for number in range(_FOLDS):
            inside = [one for one, part in zip(cases, fold, strict=True) if part == number]
            outside = [one for one, part in zip(cases, fold, strict=True) if part != number]
            one = _learned(outside, kind, REAL, seed)
            if one is not None:
                values[fold == number] = _qualities(one, inside, kind, REAL)
        if not np.isnan(values).any():
            found[LEARNED[0]] = values
    found["popular"] = _popular(cases, kind, popularity)
    return found


def _tested(
    cases: Sequence[Judged],
    kind: str,
    learned: Mapping[str, Strategy | None],
    popularity: np.ndarray,
) -> dict[str, np.ndarray]:
    found = {}
    for name in names():
        real, other = (
            learned[one] if name in LEARNED else find(name)() for one in (REAL, SHUFFLED)
        )
        if real is None or other is None:
            continue
        found[name] = _qualities(real, cases, kind, REAL)
        found[f"{name}, {SHUFFLED}"] = _qualities(other, cases, kind, SHUFFLED)
        found[f"{name}, {STRANGERS}"] = _qualities(real, cases, kind, STRANGERS)
    found["popular"] = _popular(cases, kind, popularity)
    found["alone"] = np.array([alone(one.scores[REAL, kind], one.targets) for one in cases])
    return found


def _tastes(cases: Sequence[Judged], kind: str, learned: Strategy | None) -> dict[str, np.ndarray]:
    nothing = (np.nan, np.nan, np.nan)
    able = {name: learned if name in LEARNED else find(name)() for name in names()}
    return {
        name: np.array([served(one, case, kind) or nothing for case in cases]).reshape(-1, 3)
        for name, one in able.items()
        if one is not None
    }


def _qualities(
    strategy: Strategy, cases: Sequence[Judged], kind: str, arrangement: str
) -> np.ndarray:
    return np.array(
        [quality(strategy, one.scores[arrangement, kind], one.targets) for one in cases], np.float64
    )


def _popular(cases: Sequence[Judged], kind: str, popularity: np.ndarray) -> np.ndarray:
    return np.array(
        [ranked(popularity, one.scores[REAL, kind].allowed, one.targets) for one in cases],
        np.float64,
    )


def _learned(cases: Sequence[Judged], kind: str, arrangement: str, seed: int) -> Strategy | None:
    """Attention, fitted to what these groups chose; None: they chose too little."""
    group = np.array([place for place, one in enumerate(cases) for _ in one.targets], np.int64)
    if len(group) < _LEAST_CHOICES:
        return None
    chosen = np.concatenate([one.targets for one in cases])
    scores = [one.scores[arrangement, kind] for one in cases]
    beside = others(chosen, len(scores[0].allowed), _BESIDE, seed)
    return find(LEARNED[0])().fit(Choices(scores, group, chosen, beside))


def _of(cases: Sequence[Judged], kind: str) -> list[Judged]:
    return [one for one in cases if (REAL, kind) in one.scores]


def _some(cases: Sequence[GroupCase], limit: int, seed: int) -> list[GroupCase]:
    if len(cases) <= limit:
        return list(cases)
    kept = np.sort(rng(seed, "groups to judge by").choice(len(cases), limit, replace=False))
    return [cases[place] for place in kept]


def _means(values: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    return {name: float(one.mean()) if len(one) else None for name, one in values.items()}


def _over_groups(values: np.ndarray) -> dict[str, float] | None:
    """Means over groups in which a member's own taste is known."""
    known = values[~np.isnan(values).any(axis=1)]
    if not len(known):
        return None
    mean, worst, spread = known.mean(axis=0).tolist()
    return {"mean": mean, "worst": worst, "spread": spread, "n": len(known)}
