"""Decisions and comparisons in words that need no knowledge of statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SLICES = {
    "0": "no known item",
    "1-5": "1–5 known items",
    "6-20": "6–20 known items",
    "21+": "21 or more known items",
}
_KINDS = {
    "real": "real data alone",
    "placebo": "real data and a placebo",
    "generated": "real and generated data",
}


def explain(decision: Mapping[str, Any]) -> list[str]:
    """Three sentences about a decision: what to serve, what the evidence was, what the model gains overall."""
    winner = decision["winner"]
    [choice] = [row for row in decision["recommenders"] if row["recommender"] == winner["recommender"]]
    return [_verdict(decision, winner), _evidence(decision, choice), _overall(decision, winner)]


def reason(
    compared: Sequence[Mapping[str, Any]],
    failed_audits: Sequence[str],
    audits: Mapping[str, Mapping[str, Any]],
    min_users: int,
) -> str:
    """Why a candidate was accepted or refused: the first rule that it broke.

    Args:
        compared: its comparisons, as in decision.json.
        failed_audits: generators it uses whose audit did not pass.
        audits: all audits.
        min_users: of the gate.
    """
    if failed_audits:
        limits = [
            ", ".join(audits[name]["failed_limits"]) if name in audits else "missing"
            for name in failed_audits
        ]
        return "audit not passed: " + "; ".join(
            f"{n} ({why})" for n, why in zip(failed_audits, limits, strict=True)
        )
    few = {row["slice"]: row["n_users"] for row in compared if row["n_users"] < min_users}
    if few:
        found = ", ".join(f"{n} {_who(name, n)}" for name, n in few.items())
        return f"too few test users to decide: {found}; {min_users} are needed"
    unbeaten = [row for row in compared if row["question"] == "beats" and not row["passed"]]
    if unbeaten:
        beaten = [row for row in compared if row["question"] == "beats" and row["passed"]]
        names = ", ".join(row["comparator"] for row in unbeaten)
        if not beaten and len(unbeaten) > 2:
            names = f"any of the {len(unbeaten)} policies without generated data"
        return f"not shown to be better than {names} for {_who(unbeaten[0]['slice'])}"
    inferior = [row for row in compared if not row["passed"]]
    if inferior:
        return f"a loss over all users beyond the margin cannot be ruled out, against {inferior[0]['comparator']}"
    return f"better than every policy without generated data for {_who(compared[0]['slice'])}, and no worse overall"


def compared_sentence(difference: Mapping[str, Any], verdict: str) -> str:
    """One sentence about a challenger and a champion on the same users."""
    if difference["ci_low"] is None:
        return f"Only {difference['n_users']} test users in common: nothing can be said of the challenger."
    return (
        f"Over {difference['n_users']:,} test users the challenger's {metric_words(difference['metric'])} is "
        f"{difference['challenger_mean']:.3f} against the champion's {difference['champion_mean']:.3f} "
        f"({_interval(difference)}): {verdict}."
    )


def metric_words(name: str) -> str:
    """A metric as it is written in prose: "NDCG@10", "Recall@20"."""
    stem, at, cutoff = name.partition("@")
    return (
        (stem.upper() if stem in ("ndcg", "mrr", "map") else stem.replace("_", " ").capitalize())
        + at
        + cutoff
    )


def _verdict(decision: Mapping[str, Any], winner: Mapping[str, Any]) -> str:
    model = f"{winner['recommender']} trained on {_KINDS[winner['kind']]} (policy {winner['policy']})"
    if decision["verdict"] == "generated":
        return f"Serve {model}: the generated data has earned its place."
    elsewhere = [row["recommender"] for row in decision["recommenders"] if row["accepted"]]
    if elsewhere:
        return f"Serve {model}: generated data helped {', '.join(elsewhere)}, but this model is better still."
    if not any(row["candidate"] for row in decision["recommenders"]):
        return f"Serve {model}: no generated data took part in this run."
    return f"Serve {model}: no generated data has earned its place."


def _evidence(decision: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    if choice["candidate"] is None:
        return f"For {choice['recommender']} {choice['reason']}, so there was nothing to prove."
    rows = [
        row
        for row in decision["comparisons"]
        if row["recommender"] == choice["recommender"] and row["question"] == "beats"
    ]
    known = [row for row in rows if row["ci_low"] is not None]
    result = "accepted" if choice["accepted"] else "refused"
    if not known:
        return f"Its generated candidate, {choice['candidate']}, was {result}: {choice['reason']}."
    hardest = min(known, key=lambda row: row["ci_low"])
    return (
        f"For the {hardest['n_users']:,} test {_who(hardest['slice'], hardest['n_users'])} the generated candidate, "
        f"{choice['candidate']}, reached {metric_words(hardest['metric'])} {hardest['candidate_mean']:.3f} against "
        f"{hardest['comparator_mean']:.3f} with {hardest['comparator']}, the hardest to beat without generated data "
        f"({_interval(hardest)}), and was {result}: {choice['reason']}."
    )


def _overall(decision: Mapping[str, Any], winner: Mapping[str, Any]) -> str:
    metric = decision["gate"]["metric"]
    tested = {(arm["recommender"], arm["policy"]): arm["test"]["overall"] for arm in decision["arms"]}
    mine = tested[winner["recommender"], winner["policy"]]
    if mine[metric] is None:
        return "No test user was left to measure the model on."
    text = (
        f"Over all {mine['n_users']:,} test {_who('overall', mine['n_users'])} the model reaches "
        f"{metric_words(metric)} {mine[metric]:.3f} (1 would be a perfect list)"
    )
    floor = tested.get(("popularity", "none"))
    if winner["recommender"] == "popularity" or not floor or not floor[metric]:
        return text + "."
    change = mine[metric] / floor[metric] - 1
    return (
        text
        + f", {_signed(100 * change, 1)} % against the {floor[metric]:.3f} of showing everybody what is popular."
    )


def _interval(row: Mapping[str, Any]) -> str:
    return f"difference {_signed(row['difference'])}, interval {_signed(row['ci_low'])} to {_signed(row['ci_high'])}"


def _who(slice_name: str, n: int = 2) -> str:
    users = "user" if n == 1 else "users"
    return users if slice_name in ("overall", "all") else f"{users} with {_SLICES[slice_name]}"


def _signed(value: float, digits: int = 3) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]
