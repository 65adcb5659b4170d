"""The gate's numbers as tables: repeated trainings, groups of users and items, and the gain that
could have been detected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from augrec.evaluation.harm import ACTIVITY, FEW, HELD, ITEMS, LOST, OPEN
from augrec.reporting.words import (
    ITEM_GROUPS,
    MISSING,
    find_arm,
    many,
    measured,
    number,
    plain,
    signed,
    slice_words,
)

VERDICTS: Final = {
    LOST: "shown to lose more than the margin",
    HELD: "such a loss is ruled out",
    OPEN: "neither is shown",
    FEW: "too few users to judge",
}
_NOT_LOST: Final = "is shown to lose more than the margin"
_ORDER: Final = {LOST: 0, HELD: 1, OPEN: 1, FEW: 2}


@dataclass(frozen=True)
class Groups:
    """The effect of one recommender's candidate on every group.

    Attributes:
        title: which candidate, against what.
        summary: the number of groups by verdict.
        rows: kind and name in words, users, candidate, other, difference, low, high, verdict,
            whether it is lost.
    """

    title: str
    summary: str
    rows: list[dict[str, Any]]


def trainings(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each arm that was trained more than once, or whose regularisation was chosen: the
    result of each training.

    {"recommender", "policy", "kind", "values", "mean", "sd", "valid", "regularisation"} on the
    gate's metric and target slice, `valid` being the mean on validation users.
    """
    group = decision["gate"]["target_slice"]
    rows = []
    for arm in decision["arms"]:
        found = arm["repetitions"]["test"].get("overall" if group == "all" else group)
        chosen = ", ".join(
            f"{plain(key)} {_short(value)}" for key, value in arm["regularisation"].items()
        )
        if found is not None and (len(found["values"]) > 1 or chosen):
            rows.append(
                {name: arm[name] for name in ("recommender", "policy", "kind")}
                | {name: found[name] for name in ("values", "mean", "sd")}
                | {
                    "valid": measured(arm, decision["gate"]["metric"], group, "valid"),
                    "regularisation": chosen or MISSING,
                }
            )
    return rows


def choices(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every recommender's choice, with what the chosen policy reaches: "valid" and "test"."""
    metric = decision["gate"]["metric"]
    rows = []
    for row in decision.get("recommenders") or []:
        arm = find_arm(decision, row["recommender"], row["chosen"])
        values = {split: measured(arm, metric, "all", split) for split in ("valid", "test")}
        rows.append({**row, **values})
    return rows


def protected(decision: Mapping[str, Any]) -> list[Groups]:
    """The groups of every candidate, lost ones first, those too small to judge last."""
    return [
        Groups(
            title=f"{row['recommender']}: {row['candidate']} against "
            f"{row['best_without_generated']}",
            summary=_counts(one["verdict"] for one in row["groups"]),
            rows=[
                _group(one) for one in sorted(row["groups"], key=lambda one: _ORDER[one["verdict"]])
            ],
        )
        for row in decision["recommenders"]
        if row["groups"]
    ]


def visible(power: Mapping[str, Any] | None) -> str:
    """The gain that could have been detected: "7.4 % (+0.031)"."""
    if power is None:
        return MISSING
    gain = signed(power["gain"])
    return gain if power["relative"] is None else f"{100 * power['relative']:.1f} % ({gain})"


def _group(row: Mapping[str, Any]) -> dict[str, Any]:
    name = row["group"]
    words = {ACTIVITY: slice_words, ITEMS: lambda tier: ITEM_GROUPS.get(tier, tier)}.get(
        row["kind"], str
    )
    lost = row["verdict"] == LOST
    return dict(row) | {
        "kind": plain(row["kind"]),
        "group": words(name),
        "lost": lost,
        "verdict": VERDICTS[row["verdict"]],
    }


def _counts(verdicts: Iterable[str]) -> str:
    found = list(verdicts)
    counted = {name: found.count(name) for name in VERDICTS}
    counts = [
        f"{n} where {VERDICTS[name]}" if name != FEW else f"{n} with {VERDICTS[name]}"
        for name, n in counted.items()
        if n and name != LOST
    ]
    lost = (
        f"{many(counted[LOST], 'group')} {VERDICTS[LOST]}"
        if counted[LOST]
        else f"no group {_NOT_LOST}"
    )
    return ", ".join([lost, *counts])


def _short(value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else number(None) if value is None else str(value)
    )
