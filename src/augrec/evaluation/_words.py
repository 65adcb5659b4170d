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
_ITEMS = {
    "head": "the most popular items",
    "mid": "items in between",
    "tail": "the least popular items",
    "new": "new items",
}
_KINDS = {
    "real": "real data alone",
    "placebo": "real data and a placebo",
    "generated": "real and generated data",
}


def explain(decision: Mapping[str, Any]) -> list[str]:
    """Three sentences about a decision: what to serve, why, and how far the numbers can be
    trusted."""
    winner = decision["winner"]
    [choice] = [
        row for row in decision["recommenders"] if row["recommender"] == winner["recommender"]
    ]
    evidence = _evidence(decision, choice) + _fine_tuned(decision, choice)
    return [_verdict(decision, winner), evidence, _reach(decision, winner, choice)]


def audit_reason(failed: Sequence[str], audits: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a candidate of generators whose audits did not pass is refused: each with the limits it
    broke."""
    limits = [
        ", ".join(audits[name]["failed_limits"]) if name in audits else "missing" for name in failed
    ]
    return "audit not passed: " + "; ".join(
        f"{n} ({why})" for n, why in zip(failed, limits, strict=True)
    )


def reason(
    compared: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]], min_users: int
) -> str:
    """Why a candidate was accepted or refused: the first rule that it broke.

    Args:
        compared: its comparisons, as in decision.json.
        groups: what became of each group, as in decision.json.
        min_users: of the gate.
    """
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
        return f"not shown to be better than {names}"
    inferior = [row for row in compared if not row["passed"]]
    if inferior:
        return (
            "a loss over all users beyond the margin cannot be ruled out, against "
            f"{inferior[0]['comparator']}"
        )
    lost = [row for row in groups if row["verdict"] == "lost"]
    if lost:
        return f"a loss beyond the margin is shown for {', '.join(_group(row) for row in lost)}"
    return "better than every policy without generated data, and no worse overall"


def compared_sentence(difference: Mapping[str, Any], verdict: str) -> str:
    """One sentence about a challenger and a champion on the same users."""
    if difference["ci_low"] is None:
        return (
            f"Only {difference['n_users']} test users in common: nothing can be said of the "
            "challenger."
        )
    return (
        f"Over {difference['n_users']:,} test users the challenger's "
        f"{metric_words(difference['metric'])} is "
        f"{difference['challenger_mean']:.3f} against the champion's "
        f"{difference['champion_mean']:.3f} "
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
    begun = ", from the champion's weights on" if _arm(decision, winner)["continues"] else ""
    model = (
        f"{winner['recommender']} trained on {_KINDS[winner['kind']]}{begun} (policy "
        f"{winner['policy']})"
    )
    if decision["verdict"] == "generated":
        return f"Serve {model}: the generated data has earned its place."
    elsewhere = [row["recommender"] for row in decision["recommenders"] if row["accepted"]]
    if elsewhere:
        return (
            f"Serve {model}: generated data helped {', '.join(elsewhere)}, but this model is "
            "better still."
        )
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
    ours, theirs = hardest["candidate_mean"], hardest["comparator_mean"]
    times = max(
        _trainings(decision, hardest, hardest[side]) for side in ("candidate", "comparator")
    )
    return (
        f"For {_who(hardest['slice'])} the generated candidate, {choice['candidate']}, was "
        f"{_than(ours, theirs)} "
        f"{hardest['comparator']}, the hardest to beat without generated data "
        f"({metric_words(hardest['metric'])} {ours:.3f} "
        f"against {theirs:.3f} over {hardest['n_users']:,} test "
        f"users{f' and {times} trainings' if times > 1 else ''}; "
        f"{_interval(hardest)}), and was {result}: {choice['reason']}."
    )


def _fine_tuned(decision: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """What became of fine-tuning, where it stands for the full retrain or would have, by validation
    users; else nothing."""
    best = choice["best_without_generated"]
    told = []
    for row in decision["comparisons"]:
        if row["recommender"] != choice["recommender"] or row["question"] != "continued":
            continue
        ours = f" From the champion's weights on, {row['candidate']}"
        retrain = f"the full retrain, {row['comparator']}"
        if row["candidate"] == best:
            told.append(f"{ours} loses no more than the margin against {retrain}{_numbers(row)}.")
        elif not row["passed"] and _validated(decision, choice, row["candidate"]) > _validated(
            decision, choice, best
        ):
            told.append(
                f"{ours} was better on validation users, but a loss beyond the margin against "
                f"{retrain}, cannot be ruled out"
                f"{_numbers(row)}, so it is not chosen."
            )
    return "".join(told)


def _numbers(row: Mapping[str, Any]) -> str:
    """A comparison's means and interval in brackets; nothing where there was nobody to measure."""
    if row["ci_low"] is None:
        return ""
    ours, theirs = row["candidate_mean"], row["comparator_mean"]
    return (
        f" ({metric_words(row['metric'])} {ours:.3f} against {theirs:.3f} over "
        f"{row['n_users']:,} test users; {_interval(row)})"
    )


def _validated(decision: Mapping[str, Any], choice: Mapping[str, Any], policy: str) -> float:
    """The mean of an arm's trainings on validation users."""
    arm = _arm(decision, {"recommender": choice["recommender"], "policy": policy})
    value = arm["repetitions"]["valid"]["overall"]["mean"]
    return float("-inf") if value is None else float(value)


def _arm(decision: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arm of this recommender and policy."""
    wanted = named["recommender"], named["policy"]
    return next(arm for arm in decision["arms"] if (arm["recommender"], arm["policy"]) == wanted)


def _reach(
    decision: Mapping[str, Any], winner: Mapping[str, Any], choice: Mapping[str, Any]
) -> str:
    overall = _overall(decision, winner)
    power = choice["power"]
    if power is None:
        return overall
    crowd = "users" if power["slice"] == "overall" else "such users"
    gain = (
        f"{power['gain']:.3f}"
        if power["relative"] is None
        else f"{_rounded(100 * power['relative'])} %"
    )
    return (
        f"With {power['n_users']:,} {crowd} only a gain of more than about {gain} was likely "
        f"({100 * power['chance']:.0f} %) "
        f"to be seen; {overall[0].lower()}{overall[1:]}"
    )


def _overall(decision: Mapping[str, Any], winner: Mapping[str, Any]) -> str:
    metric = decision["gate"]["metric"]
    tested = {
        (arm["recommender"], arm["policy"]): arm["test"]["overall"] for arm in decision["arms"]
    }
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
        + f", {_signed(100 * change, 1)} % against the {floor[metric]:.3f} of showing everybody "
        "what is popular."
    )


def _trainings(decision: Mapping[str, Any], row: Mapping[str, Any], policy: str) -> int:
    """How often the arm of a comparison was trained."""
    arm = _arm(decision, {"recommender": row["recommender"], "policy": policy})
    return len(arm["repetitions"]["test"]["overall"]["values"])


def _group(row: Mapping[str, Any]) -> str:
    """A group in words: "users with 1–5 known items", "the least popular items", "gender F"."""
    name = row["group"]
    if row["kind"] == "activity":
        return _who(name)
    return _ITEMS[name] if row["kind"] == "items" else f"{row['kind'].replace('_', ' ')} {name}"


def _than(value: float, other: float) -> str:
    """ "1.2 % worse than", "as good as"."""
    if value == other or not other:
        return "as good as" if value == other else "better than"
    return (
        f"{_rounded(abs(100 * (value / other - 1)))} % "
        f"{'better' if value > other else 'worse'} "
        "than"
    )


def _rounded(value: float) -> str:
    """To two figures where it is below 10, else to a whole number."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _interval(row: Mapping[str, Any]) -> str:
    return (
        f"difference {_signed(row['difference'])}, interval {_signed(row['ci_low'])} to "
        f"{_signed(row['ci_high'])}"
    )


def _who(slice_name: str, n: int = 2) -> str:
    users = "user" if n == 1 else "users"
    return users if slice_name in ("overall", "all") else f"{users} with {_SLICES[slice_name]}"


def _signed(value: float, digits: int = 3) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]
