"""What strategies are judged on: groups at the moment of a choice, with the scores of their own
members and of placebos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from augrec.data.group_choices import GroupCase, Histories
from augrec.data.stored_groups import AD_HOC, PERSISTENT
from augrec.evaluation.group_metrics import choice_metrics, member_metrics, mid_ranks
from augrec.groups.base import Strategy
from augrec.groups.scores import GroupScores, score_group
from augrec.recommenders.base import Recommender

REAL: Final = "real"
SHUFFLED: Final = "shuffled"
STRANGERS: Final = "strangers"
K: Final = 10
METRIC: Final = f"ndcg@{K}"

Arrangements = Mapping[str, Mapping[str, Sequence[str]]]
"""{"real" or a placebo: {group id: ids of its members}}."""


@dataclass(frozen=True)
class Judged:
    """A group at the moment of a choice.

    Attributes:
        group: its id.
        size: its number of members.
        scores: {(arrangement, kind): what a recommender says}; the kind "persistent" is missing
            where the group has no known choices.
        targets: positions of the items that it chose, all of them allowed in each arrangement.
        tastes: for each member with such items, the positions of allowed ones that the member took
            later.
    """

    group: str
    size: int
    scores: Mapping[tuple[str, str], GroupScores]
    targets: np.ndarray
    tastes: list[np.ndarray]


def judged(
    model: Recommender,
    cases: Iterable[GroupCase],
    histories: Histories,
    arrangements: Arrangements,
) -> Iterator[Judged]:
    """The cases that have something to find.

    What a member has met is left out of lists, as in the service, and so is what the group has
    chosen before. A target that is left out under one arrangement counts under none: otherwise real
    members would tell, by what they have not met, what their group chose.

    Args:
        model: a fitted recommender.
        cases: see `augrec.data.group_choices.group_cases`.
        histories: of members.
        arrangements: who stands for the members of each group; "real" among them.
    """
    for case in cases:
        chosen = _positions(model, case.own)
        members = {
            name: [histories.before(user, case.moment) for user in groups[case.group]]
            for name, groups in arrangements.items()
        }
        allowed = {}
        for name, lists in members.items():
            mask = np.ones(len(model.items), np.bool_)
            mask[_positions(model, [item for one in lists for item in one])] = False
            mask[chosen] = False
            allowed[name] = mask
        targets = np.unique(_positions(model, case.targets))
        targets = targets[np.all([mask[targets] for mask in allowed.values()], axis=0)]
        if not len(targets):
            continue
        kinds = {PERSISTENT: case.own, AD_HOC: []} if case.own else {AD_HOC: []}
        scores = {
            (name, kind): score_group(model, lists, own, allowed=allowed[name])
            for name, lists in members.items()
            for kind, own in kinds.items()
        }
        later = [
            _positions(model, histories.since(user, case.moment))
            for user in arrangements[REAL][case.group]
        ]
        tastes = [np.unique(one[allowed[REAL][one]]) for one in later]
        yield Judged(
            case.group,
            len(case.members),
            scores,
            targets,
            [one for one in tastes if len(one)],
        )


def quality(strategy: Strategy, scores: GroupScores, targets: np.ndarray) -> float:
    """The NDCG@10 of the group's choices in the full catalogue, each without the others; ties at
    mid rank. A strategy that looks at the whole list is judged by its list."""
    if type(strategy)._choose is Strategy._choose:
        return ranked(strategy.scores(scores), scores.allowed, targets)
    listed, _ = strategy.choose(scores, K)
    place = {int(item): rank for rank, item in enumerate(listed, start=1)}
    ranks = [
        place[target] - sum(place.get(other, np.inf) < place[target] for other in targets.tolist())
        if target in place
        else np.inf
        for target in targets.tolist()
    ]
    return float(choice_metrics(np.array(ranks), (K,))[METRIC].mean())


def ranked(scores: np.ndarray, allowed: np.ndarray, targets: np.ndarray) -> float:
    """As `quality`, of scores (n,) of the allowed items."""
    others = allowed.copy()
    others[targets] = False
    beside = np.broadcast_to(scores[others], (len(targets), int(others.sum())))
    ranks = mid_ranks(scores[targets], beside)
    return float(choice_metrics(ranks, (K,))[METRIC].mean())


def alone(scores: GroupScores, targets: np.ndarray) -> float:
    """The same recommender without the group: the list of one member, whichever it is."""
    return float(np.mean([ranked(one, scores.allowed, targets) for one in scores.members]))


def served(strategy: Strategy, case: Judged, kind: str) -> tuple[float, float, float] | None:
    """Mean, worst member's and spread of the NDCG@10 of a list for what members took later
    themselves; None: no member took anything."""
    if not case.tastes:
        return None
    listed, _ = strategy.choose(case.scores[REAL, kind], K)
    found = member_metrics([listed], [case.tastes])
    return float(found.mean[0]), float(found.worst[0]), float(found.spread[0])


def _positions(model: Recommender, items: Sequence[str]) -> np.ndarray:
    found = model.items.encode(pl.Series(list(items), dtype=pl.String))
    return np.asarray(found[found >= 0], np.int64)
