"""Correction for multiple tests in one decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def holm(names: Sequence[str], passes: Callable[[str, int], bool]) -> dict[str, int]:
    """Holm's step-down procedure (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    All are tested as one of len(names); those that pass are set aside and the rest is tested as one
    of the rest, until none passes. The chance that any passes which should not stays at the level
    of a single test, whatever their dependence. Never less powerful than Bonferroni.

    Args:
        names: what is tested.
        passes: whether one passes when its level is divided by that number.

    Returns:
        For each the number by which its level was divided when it was last tested; `passes` at that
        number is the outcome.
    """
    left, divided = list(names), dict[str, int]()
    while left:
        passed = [name for name in left if passes(name, len(left))]
        divided |= dict.fromkeys(left, len(left))
        if not passed:
            break
        left = [name for name in left if name not in passed]
    return divided
