"""The gate of recommenders for groups: who is in a group must make a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from augrec.core.errors import InputError
from augrec.evaluation.bootstrap import interval


@dataclass(frozen=True)
class GroupDecision:
    """Whether a strategy for groups may serve.

    Attributes:
        promoted: whether it beats every control by an interval.
        differences: {control: (difference, lower end, upper end)} of the means over groups.
    """

    promoted: bool
    differences: Mapping[str, tuple[float, float, float]]


def judge(
    candidate: np.ndarray,
    controls: Mapping[str, np.ndarray],
    *,
    confidence: float = 0.95,
    samples: int = 2_000,
    seed: int = 0,
) -> GroupDecision:
    """Compare a strategy with the same recommender without groups and with shuffled members.

    It is promoted only if the interval of the difference to each control lies above 0. Groups are
    resampled, not choices: those of one group are not independent.

    Args:
        candidate: the metric of each group, float (g,).
        controls: of the same groups, such as {"without_groups": …, "shuffled": …}.
        confidence: of each interval.
        samples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: there is no control, or one has another number of groups.
    """
    if not controls or any(len(one) != len(candidate) for one in controls.values()):
        raise InputError(
            f"controls must have the same {len(candidate)} groups as the candidate",
            where="group gate",
            fix="measure the same groups without groups and with shuffled members",
        )
    differences = {}
    for name, control in controls.items():
        change = np.asarray(candidate - control, np.float64)
        low, high = interval(change, confidence=confidence, samples=samples, seed=seed)
        differences[name] = float(change.mean()), low, high
    return GroupDecision(all(low > 0 for _, low, _ in differences.values()), differences)


def by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The mean of each group's values, in the order of the groups' numbers; float64 (g,)."""
    numbers, place = np.unique(group, return_inverse=True)
    sums = np.bincount(place, values, len(numbers))
    return sums / np.bincount(place, minlength=len(numbers))
