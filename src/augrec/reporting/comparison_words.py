"""The comparison of a new version with the champion in one sentence: why it may serve, or why not.

It is written here once; the terminal, the report, the approval screen, the registry and the
service's page show the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augrec.evaluation import compare
from augrec.evaluation.harm import ACTIVITY
from augrec.reporting.words import count, crowd, interval, metric_words, number, plain, than

_POPULARITY: Final = "showing everybody what is popular"
_ITSELF: Final = "That is the model itself; tables show the mean of its trainings."
"""Why the number differs from that of the tables."""


def sentence(compared: Mapping[str, Any]) -> str:
    """Why a version may become the champion, or why not.

    Args:
        compared: what `augrec.registry.champion_comparison.compare_with_champion` found.
    """
    version, found = f"version {compared['challenger']['version']}", compared["comparison"]
    if compared["outcome"] == compare.SAME:
        return f"{version.capitalize()} is the champion already: it is the very same model."
    if compared["outcome"] == compare.FIRST:
        return _first(version, found)
    champion = f"the champion, version {compared['champion']['version']}"
    if compared["lost_champion"]:
        champion = f"version {compared['champion']['version']}"
    return _lost_champion(compared) + _measured(version, champion, found) + _groups(found)


def _lost_champion(compared: Mapping[str, Any]) -> str:
    lost = compared["lost_champion"]
    if not lost:
        return ""
    return (
        f"The champion, version {lost}, was deleted in MLflow; version "
        f"{compared['champion']['version']}, the champion before it, stands in for it. "
    )


def _first(version: str, found: Mapping[str, Any] | None) -> str:
    begin = f"{version.capitalize()} is the first model"
    if found is None:
        return f"{begin}, and popularity itself: there is nothing to compare it with."
    if found["difference"] is None:
        return f"{begin}, and there are no test users to compare it on."
    measured = f"{begin}. {_compared('it', _POPULARITY, found)}"
    if not compare.judge(compare.FIRST, found)[0]:
        return f"{measured}: what is worse than that does not serve. {_ITSELF}"
    return f"{measured}. {_ITSELF}"


def _measured(version: str, champion: str, found: Mapping[str, Any]) -> str:
    if found["ci_low"] is None:
        return f"Only {found['n_users']} test users: {version} cannot be compared with {champion}."
    return f"{_compared(version, champion, found)}: {_verdict(version, found)}."


def _compared(version: str, other: str, found: Mapping[str, Any]) -> str:
    spread = f"; {interval(found)}" if found["ci_low"] is not None else ""
    return (
        f"Over {count(found['n_users'])} test users {version} is "
        f"{than(found['challenger_mean'], found['champion_mean'])} {other} "
        f"({metric_words(found['metric'])}{spread})"
    )


def _verdict(version: str, found: Mapping[str, Any]) -> str:
    margin = f"a loss of more than {100 * found['margin']:g} %"
    if found["verdict"] == compare.BETTER:
        return "it is better"
    if found["verdict"] == compare.NOT_WORSE:
        return f"it counts as no worse, because {margin} is ruled out"
    if found["verdict"] == compare.TOO_FEW_USERS:
        return "too few users to decide"
    if found["needed"] is None:
        return f"{margin} cannot be ruled out"
    return (
        f"it is likely better ({_sure(found['chance'])} sure), but {margin} cannot be ruled out. "
        f"`augrec challenge {version.removeprefix('version ')}` tests it beside the champion: a "
        f"difference of this size would show after about {count(found['needed']['shadow'])} users "
        f"in shadow mode, or {count(found['needed']['split'])} split between the two"
    )


def _sure(chance: float) -> str:
    return f"{100 * min(chance, 0.99):.0f} %"


def _groups(found: Mapping[str, Any]) -> str:
    if not found["lost"]:
        return ""
    rows = "; ".join(
        f"{_users(row)}, {number(row['candidate_mean'])} against {number(row['comparator_mean'])}"
        for row in found["lost"]
    )
    return f" But it is shown to lose more than the margin for {rows}: a person has to decide."


def _users(row: Mapping[str, Any]) -> str:
    name = row["group"]
    return crowd(name) if row["kind"] == ACTIVITY else f"users with {plain(row['kind'])} {name}"
