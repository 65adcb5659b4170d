"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augrec.core.files import write_text
from augrec.data.slices import SLICES
from augrec.reporting import audit_figures, figures, gains, gate_tables, load, words
from augrec.reporting.audit_limits import limits, measures
from augrec.reporting.beyond_accuracy_tables import beyond
from augrec.reporting.pages import render
from augrec.reporting.run_head import MARK
from augrec.reporting.svg import Figure
from augrec.reporting.together_tables import together
from augrec.reporting.words import (
    find_arm,
    measured,
    metric_words,
    number,
    percent,
    plain,
    relative,
    slice_words,
)


def write(path: Path, decision: dict[str, Any], workspace: Path) -> None:
    """Write the report of a run.

    Args:
        path: the HTML file; it loads nothing from anywhere.
        decision: decision.json.
        workspace: where the run's data, models and reports lie. What is missing there is shown as
            not part of the run.
    """
    page = render(
        "template.html",
        kinds=words.KINDS,
        left_out_kinds=words.LEFT_OUT,
        run_mark=MARK,
        **_content(decision, workspace),
    )
    write_text(path, page)


def _content(decision: dict[str, Any], workspace: Path) -> dict[str, Any]:
    """Everything the template shows."""
    gate, arms = decision["gate"], decision.get("arms", [])
    metric, inputs = gate["metric"], load.inputs(workspace)
    parameters = load.parameters(workspace)
    named = ((parameters or {}).get("run") or {}).get("generators")
    took_part = named if isinstance(named, list) else []  # auto, where nothing was resolved
    generators = load.generators(workspace, {*took_part, *(decision.get("audits") or {})})
    return {
        "decision": decision,
        "rule": decision["rule"],
        "left_out": decision.get("left_out", []),
        "chosen": decision.get("chosen", []),
        "advice": decision.get("advice"),
        "policies": decision.get("policies") or {},
        "repetitions": decision.get("repetitions"),
        "gate": gate,
        "metric": metric,
        "big": _big_numbers(decision, inputs.split),
        "tested_on": _tested_on(inputs.split),
        "inputs": inputs,
        "slices": SLICES,
        "timeline": figures.timeline(inputs),
        "generators": [
            (one, _drawn(one), limits(one.audit), measures(one.audit)) for one in generators
        ],
        "heat": [
            _heat(arms, metric, group) for group in dict.fromkeys(("all", gate["target_slice"]))
        ],
        "differences": figures.differences(gains.against_none(workspace, decision), metric),
        "by_user": figures.winner_by_user(gains.winner_by_user(workspace, decision), metric),
        "beyond": beyond(decision),
        "together": together(decision),
        "comparisons": [
            {**row, "words": _comparison(row, gate)} for row in decision.get("comparisons", [])
        ],
        "choices": gate_tables.choices(decision),
        "trainings": gate_tables.trainings(decision) if arms else [],
        "protected": gate_tables.protected(decision),
        "curves": [
            *(figure for generator in generators for figure in figures.generator_curves(generator)),
            *figures.recommender_curves(workspace, arms),
        ],
        "parameters": load.as_yaml(parameters) if parameters else None,
    }


def _big_numbers(
    decision: Mapping[str, Any], split: Mapping[str, Any] | None
) -> list[tuple[str, str, str]]:
    """(value, what it is, what to compare it with): the winner over all users, in the target slice,
    and its gain."""
    gate, winner = decision["gate"], decision["winner"]
    metric, group = gate["metric"], gate["target_slice"]
    arm = find_arm(decision, winner["recommender"], winner["policy"])
    plain = find_arm(decision, winner["recommender"], gains.BASELINE)
    numbers = []
    for part in dict.fromkeys(("all", group)):
        value, baseline = measured(arm, metric, part), measured(plain, metric, part)
        against = (
            f"{number(baseline)} with the real data as it is ({percent(relative(value, baseline))})"
        )
        note = "the real data as it is" if winner["policy"] == gains.BASELINE else against
        numbers.append((number(value), f"{metric_words(metric)}, {slice_words(part)}", note))
    users = words.users(arm)
    held_out = _rules(split)["users_held_out"]
    note = (
        "no model was trained on them"
        if held_out
        else "models were trained on their other interactions"
    )
    numbers.append((words.count(users), "test users", note))
    audits = decision.get("audits") or {}
    passed = sum(bool(audit["passed"]) for audit in audits.values())
    if audits:
        title = (
            "synthetic samples passed the audit"
            if len(audits) > 1
            else "synthetic sample passed the audit"
        )
        numbers.append((f"{passed} of {len(audits)}", title, "fidelity, diversity, privacy"))
    return numbers


def _rules(split: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (split or {}).get("rules") or {"order": "global", "users_held_out": True}


def _tested_on(split: Mapping[str, Any] | None) -> str:
    """The users and times that the split's protocol held out from every model, in words."""
    rules = _rules(split)
    if rules["order"] == "global":
        return f"{'users and ' * rules['users_held_out']}times that no model was trained on"
    protocol = plain((split or {}).get("protocol", ""))
    if rules["users_held_out"]:
        return (
            "users that no model was trained on, though on later interactions of others (protocol: "
            f"{protocol})"
        )
    return f"what was held out of each user's own history (protocol: {protocol})"


def _drawn(generator: load.GeneratorFacts) -> list[Figure]:
    drawings = (
        audit_figures.popularity,
        audit_figures.lengths,
        audit_figures.categories,
        audit_figures.neighbours,
        audit_figures.attack,
    )
    return [figure for draw in drawings if (figure := draw(generator))]


def _heat(arms: list[dict[str, Any]], metric: str, group: str) -> dict[str, Any]:
    """Recommender × policy: the metric on test users, how far it lies from that of "none", and the
    metric on validation users, by which was chosen."""
    policies = {arm["policy"]: arm["kind"] for arm in arms}
    rows = []
    for recommender in dict.fromkeys(arm["recommender"] for arm in arms):
        found = {policy: find_arm({"arms": arms}, recommender, policy) for policy in policies}
        baseline = measured(found.get(gains.BASELINE), metric, group)
        cells = [
            (
                measured(arm, metric, group),
                relative(measured(arm, metric, group), baseline),
                measured(arm, metric, group, "valid"),
            )
            for arm in found.values()
        ]
        rows.append((recommender, cells))
    reach = max(
        (abs(change) for _, cells in rows for _, change, _ in cells if change is not None),
        default=0.0,
    )
    n_users = max((words.users(arm, group) or 0 for arm in arms), default=0)
    return {
        "group": group,
        "policies": policies,
        "rows": rows,
        "reach": max(reach, 0.02),
        "n_users": n_users,
    }


def _comparison(row: Mapping[str, Any], gate: Mapping[str, Any]) -> str:
    """The question of one comparison of the gate, in words; or why there is none."""
    users, candidate, comparator = words.crowd(row["slice"]), row["candidate"], row["comparator"]
    if row.get("n_users") is not None and row["n_users"] < gate["min_users"]:
        return (
            f"Only {row['n_users']} users ({users}), fewer than {gate['min_users']}: too few to "
            "decide anything."
        )
    if row["ci_low"] is None:
        return f"There is nothing to compare {candidate} and {comparator} on ({users})."
    if row["question"] == "beats":
        return f"Is {candidate} better than {comparator} for {users}?"
    margin = 100 * gate["non_inferiority_margin"]
    if row["question"] == "continued":
        candidate, comparator = (
            f"{candidate}, from the champion on,",
            f"the full retrain, {comparator},",
        )
    return f"Is {candidate} no more than {margin:g} % worse than {comparator} over {users}?"
