"""Beyond accuracy, for the report: properties of the winner's lists, exposure of items, quality by
group of users and by period, and quality of predicted events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from augrec.evaluation.user_means import BROKEN_DOWN
from augrec.reporting.words import (
    MISSING,
    find_arm,
    measured,
    metric_words,
    number,
    percent,
    plain,
    signed,
)

_MEASURES: Final = (
    ("ndcg", "how well the list is ordered"),
    ("recall_head", "targets found among the most popular items"),
    ("recall_mid", "… among the items in between"),
    ("recall_tail", "… among the least popular items"),
    ("recall_new", "… among items without training interactions"),
    ("coverage", "share of the catalogue that is recommended at all"),
    ("gini", "how unevenly items are recommended: 0 all alike, 1 always the same"),
    ("novelty", "in bits: 1 more means items half as popular"),
    ("popularity_lift", "how much more popular the list is than the user's own history"),
    ("diversity", "how unlike the items of a list are: 0 all alike, 1 nothing in common"),
    ("serendipity", "targets found that a list of the most popular items would lack"),
)
_ITEM_WORDS: Final = {
    "head": "most popular",
    "mid": "in between",
    "tail": "least popular",
    "new": "new",
}
_MOST_ATTRIBUTES: Final = 8
_OF_HEADS: Final = ("auc", "log_loss", "ece", "rmse", "mae")


@dataclass(frozen=True)
class Beyond:
    """Small tables, all but the last with a column for each arm.

    Attributes:
        cutoff: length of the lists.
        columns: the arms, "multvae × none", and their roles.
        measures: (metric, what it means, a value for each arm).
        items: (group of items, their number, share of interactions, share of targets, exposure for
            each arm).
        metric: of groups of users and of periods: the gate's, or NDCG where it is not measured for
            them.
        users: (attribute, (worst group, gap) for each arm).
        periods: (first day, users, a value for each arm).
        heads: (arm, head, the number of positives or values, a value for each of `_OF_HEADS`).
    """

    cutoff: str
    columns: list[tuple[str, str]]
    measures: list[tuple[str, str, list[str]]]
    items: list[tuple[str, int, str, str, list[str]]]
    metric: str
    users: list[tuple[str, list[tuple[str, str]]]]
    periods: list[tuple[str, int, list[str]]]
    heads: list[tuple[str, str, int, list[str]]]


def beyond(decision: Mapping[str, Any]) -> Beyond | None:
    """The winner, the best arm without generated data, and popularity; None where nothing was
    measured."""
    metric = decision["gate"]["metric"]
    cutoff = metric.partition("@")[2]
    arms = _arms(decision, metric)
    tests = [arm["test"] for _, arm in arms if arm.get("test")]
    if not tests or "items" not in tests[0]:
        return None
    shown = metric if metric.partition("@")[0] in BROKEN_DOWN else f"ndcg@{cutoff}"
    measures = [
        (
            metric_words(name),
            words,
            [_shown(name, _value(test, f"{name}@{cutoff}")) for test in tests],
        )
        for name, words in _MEASURES
    ]
    return Beyond(
        cutoff=cutoff,
        columns=[(f"{arm['recommender']} × {arm['policy']}", role) for role, arm in arms],
        measures=[row for row in measures if set(row[2]) != {MISSING}],
        items=_items(tests, cutoff),
        metric=shown,
        users=_users(tests, shown),
        periods=_periods(tests, shown),
        heads=_heads(decision, [arm for _, arm in arms], metric),
    )


def _arms(decision: Mapping[str, Any], metric: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(role, arm), each arm once: the winner, the best without generated data on validation users,
    popularity."""
    winner = find_arm(decision, decision["winner"]["recommender"], decision["winner"]["policy"])
    others = [arm for arm in decision.get("arms", []) if arm["kind"] != "generated"]
    best = max(others, key=lambda arm: measured(arm, metric, split="valid") or 0.0, default=None)
    floor = find_arm(decision, "popularity", "none")
    roles = (
        ("the winner", winner),
        ("chosen without generated data", best),
        ("most popular items for all users", floor),
    )
    found: list[tuple[str, Mapping[str, Any]]] = []
    for role, arm in roles:
        if arm is not None and all(arm is not other for _, other in found):
            found.append((role, arm))
    return found


def _value(test: Mapping[str, Any], name: str) -> float | None:
    found = test["overall"].get(name)
    return test.get("catalogue", {}).get(name) if found is None else found


def _shown(name: str, value: float | None) -> str:
    if name == "popularity_lift":
        return percent(value, 0)
    return number(value, 1 if name == "novelty" else 3)


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f} %"


def _items(
    tests: list[Mapping[str, Any]], cutoff: str
) -> list[tuple[str, int, str, str, list[str]]]:
    parts = [test["items"]["popularity"]["groups"] for test in tests]
    groups = [
        (name, words, parts[0][name]) for name, words in _ITEM_WORDS.items() if name in parts[0]
    ]
    return [
        (
            words,
            group["items"],
            _share(group["interactions"]),
            _share(group["targets"]),
            [_share(part.get(name, {}).get(f"exposure@{cutoff}")) for part in parts],
        )
        for name, words, group in groups
        if group["items"] or group["targets"]
    ]


def _users(tests: list[Mapping[str, Any]], metric: str) -> list[tuple[str, list[tuple[str, str]]]]:
    rows = []
    for attribute in list(tests[0].get("groups", {}))[:_MOST_ATTRIBUTES]:
        cells = []
        for test in tests:
            part = test.get("groups", {}).get(attribute) or {}
            gap = (part.get("gap") or {}).get(metric)
            worst = (part.get("worst") or {}).get(metric)
            cells.append((MISSING, MISSING) if gap is None else (str(worst), signed(-gap)))
        rows.append((plain(attribute), cells))
    return [row for row in rows if any(cell != (MISSING, MISSING) for cell in row[1])]


def _periods(tests: list[Mapping[str, Any]], metric: str) -> list[tuple[str, int, list[str]]]:
    """Empty where all cases are in one period."""
    parts = [test.get("time", {}) for test in tests]
    if len(parts[0]) < 2:
        return []
    return [
        (name, part["n_users"], [number(other.get(name, {}).get(metric)) for other in parts])
        for name, part in parts[0].items()
    ]


def _heads(
    decision: Mapping[str, Any], shown: list[Mapping[str, Any]], metric: str
) -> list[tuple[str, str, int, list[str]]]:
    """Of the arms that are shown and predict events; where none does, of the best on validation
    users that does."""
    able = [arm for arm in decision["arms"] if (arm.get("test") or {}).get("heads")]
    best = max(able, key=lambda arm: measured(arm, metric, split="valid") or 0.0, default=None)
    chosen = [arm for arm in shown if arm in able] or ([] if best is None else [best])
    return [
        (
            f"{arm['recommender']} × {arm['policy']}",
            plain(name),
            found["n"],
            [number(found.get(key)) for key in _OF_HEADS],
        )
        for arm in chosen
        for name, found in arm["test"]["heads"].items()
        if found["n"]
    ]
