"""The text of Airflow's approval screen, in Markdown, for whoever approves a new champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from augrec.data.slices import SLICES
from augrec.evaluation.compare import FIRST
from augrec.reporting.comparison_words import sentence
from augrec.reporting.words import (
    count,
    find_arm,
    measured,
    metric_words,
    number,
    signed,
    slice_words,
    users,
)


def markdown(comparison: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """Challenger and champion side by side, the gate's sentences, and where the report is.

    Args:
        comparison: what `augrec.registry.champion_comparison.compare_with_champion` found.
        decision: decision.json of the run that made the challenger.
    """
    challenger, champion, found = (
        comparison[name] for name in ("challenger", "champion", "comparison")
    )
    parts = [f"### May version {challenger['version']} ({_model(challenger)}) become the champion?"]
    parts.append(sentence(comparison))
    if found is not None and champion is not None:
        parts.append(_side_by_side(found, champion, challenger))
    elif comparison["outcome"] == FIRST:
        parts.append(_alone(decision))
    parts.append("**What the gate says**")
    parts.append("\n".join(f"- {sentence}" for sentence in decision["sentences"]))
    parts.append(
        "**All the evidence** is in this run's report.html: the *Report* link on the *Details* "
        "page of any stage opens it, and it is kept with the run in MLflow. Rejecting, or no "
        "answer within a day, leaves the champion as it is."
    )
    return "\n\n".join(parts) + "\n"


def _side_by_side(
    found: Mapping[str, Any], champion: Mapping[str, Any], challenger: Mapping[str, Any]
) -> str:
    lines = [
        f"| {metric_words(found['metric'])} on the same test users | users | champion "
        f"{champion['version']} ({_model(champion)}) | challenger {challenger['version']} "
        f"({_model(challenger)}) | difference | interval |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for row in ({"slice": "all", **found}, *found.get("slices", [])):
        low, high = signed(row["ci_low"]), signed(row["ci_high"])
        interval = "–" if row["ci_low"] is None else f"{low} … {high}"
        lines.append(
            f"| {slice_words(row['slice'])} | {count(row['n_users'])} | "
            f"{number(row['champion_mean'])} | {number(row['challenger_mean'])} | "
            f"{signed(row['difference'])} | {interval} |"
        )
    return "\n".join(lines)


def _alone(decision: Mapping[str, Any]) -> str:
    """The challenger's own numbers, where there is no champion to hold them against."""
    metric, winner = decision["gate"]["metric"], decision["winner"]
    arm = find_arm(decision, winner["recommender"], winner["policy"])
    lines = [
        f"| {metric_words(metric)} | test users | on test users | on validation users, who chose |",
        "|:--|--:|--:|--:|",
    ]
    lines += [
        f"| {slice_words(group)} | {count(users(arm, group))} | "
        f"{number(measured(arm, metric, group))} | "
        f"{number(measured(arm, metric, group, 'valid'))} |"
        for group in ("all", *SLICES)
    ]
    return "\n".join(lines)


def _model(version: Mapping[str, Any]) -> str:
    return f"{version['recommender']} × {version['policy']}"
