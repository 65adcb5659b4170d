"""The gate's decision in sentences that need no knowledge of statistics. They are written here
once; the report, the terminal, the registry and the service's page show the same text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augrec.evaluation import candidate_selection as selection
from augrec.evaluation import gate, parsimony
from augrec.evaluation.harm import ACTIVITY, ITEMS
from augrec.reporting.words import (
    ITEM_GROUPS,
    interval,
    metric_words,
    plain,
    policy_words,
    rounded,
    slice_words,
    than,
)

_LITTLE_KNOWN: Final = 0.5
_KINDS: Final = {
    "real": "real data alone",
    "placebo": "real data and a placebo",
    "generated": "real and generated data",
}


def rule(simpler_within: float) -> str:
    """How a run's model is chosen, in one sentence; see `augrec.evaluation.parsimony`.

    Args:
        simpler_within: of the gate.
    """
    close = f"within {simpler_within:g} standard errors of"
    return (
        f"Validation users choose: within a recommender the simplest training data that comes "
        f"{close} the best (real data as it is, then other policies on real data, then a placebo "
        "if it beats real data by an interval; generated data has to pass the gate), and among "
        f"recommenders the best, or a cheaper one {close} it; popularity only as the best."
    )


def with_sentences(decision: Mapping[str, Any]) -> dict[str, Any]:
    """decision.json as it is written: what `augrec.evaluation.gate.decide` found, each "reason" in
    words, the "sentences": what to serve, why, how far the numbers can be trusted, and on what the
    model is trained that serves; and the "rule" of the choice."""
    recommenders = [
        {**choice, "reason": _reason(choice["reason"], decision)}
        for choice in decision["recommenders"]
    ]
    worded = {**decision, "recommenders": recommenders}
    chosen_by = rule(decision["gate"]["simpler_within"])
    return worded | {"sentences": _sentences(worded), "rule": chosen_by}


def _sentences(decision: Mapping[str, Any]) -> list[str]:
    winner = decision["winner"]
    [choice] = [
        row for row in decision["recommenders"] if row["recommender"] == winner["recommender"]
    ]
    evidence = _evidence(decision, choice) + _fine_tuned(decision, choice)
    verdict = _verdict(decision, winner) + _selected(decision, choice)
    reach = _reach(decision, winner, choice)
    return [verdict, evidence, reach, *_little_known(decision), *_refit(decision)]


def _reason(reason: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """Why a candidate was accepted or refused."""
    code = reason["code"]
    if code == selection.NO_CANDIDATE:
        return "no policy with generated data took part"
    if code == selection.NO_CONTROL:
        kinds = " or ".join(reason["kinds"])
        return f"nothing can be accepted without a control: no policy of kind {kinds} took part"
    if code == selection.AUDIT_FAILED:
        return "audit not passed: " + "; ".join(
            f"{name} ({_failed_limits(decision, name)})" for name in reason["generators"]
        )
    if code == gate.TOO_FEW_USERS:
        found = ", ".join(f"{n} {_users(name, n)}" for name, n in reason["slices"].items())
        needed = decision["gate"]["min_users"]
        return f"too few test users to decide: {found}; {needed} are needed"
    if code == gate.NOT_BETTER:
        names = reason["comparators"]
        if reason["all"] and len(names) > 2:
            names = [f"any of the {len(names)} policies without generated data"]
        return f"not shown to be better than {', '.join(names)}"
    if code == gate.INFERIOR:
        return (
            "a loss over all users beyond the margin cannot be ruled out, against "
            f"{reason['comparator']}"
        )
    if code == gate.GROUP_LOST:
        lost = ", ".join(_group(row) for row in reason["groups"])
        return f"a loss beyond the margin is shown for {lost}"
    return "better than every policy without generated data, and no worse overall"


def _failed_limits(decision: Mapping[str, Any], generator: str) -> str:
    audit = decision["audits"].get(generator)
    return "missing" if audit is None else ", ".join(audit["failed_limits"])


def _verdict(decision: Mapping[str, Any], winner: Mapping[str, Any]) -> str:
    continued = ", from the champion's weights on" if _arm(decision, winner)["continues"] else ""
    words = (
        "" if winner["policy"] == parsimony.AS_IT_IS else policy_words(decision, winner["policy"])
    )
    model = (
        f"{winner['recommender']} trained on {_KINDS[winner['kind']]}{continued} (policy "
        f"{winner['policy']}{': ' if words else ''}{words})"
    )
    if decision["verdict"] == "generated":
        return f"Serve {model}: the generated data has earned its place."
    helped = [row["recommender"] for row in decision["recommenders"] if row["accepted"]]
    if helped:
        return (
            f"Serve {model}: generated data helped {', '.join(helped)}, but this model was chosen "
            "over it."
        )
    if not any(row["candidate"] for row in decision["recommenders"]):
        return f"Serve {model}: no generated data took part in this run."
    return f"Serve {model}: no generated data has earned its place."


def _selected(decision: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """Why the winner was chosen where something else was ahead on validation users; else
    nothing."""
    told = []
    within, among = choice["selection"], decision["selection"]
    policy = within["best"][1]
    if within["reason"] == parsimony.SIMPLER and not choice["accepted"]:
        told.append(f" On validation users {policy}{_ahead(within)}: the simpler data are chosen.")
    elif within["reason"] == parsimony.PLACEBO_NOT_BETTER and not choice["accepted"]:
        told.append(
            f" On validation users the placebo {policy} was ahead by {within['behind']:.4f}, but "
            "it does not beat real data by an interval, as a placebo must."
        )
    if among["reason"] == parsimony.CHEAPER:
        told.append(
            f" On validation users {' on '.join(among['best'])}{_ahead(among)}: the model that is "
            "cheaper to train is chosen."
        )
    return "".join(told)


def _ahead(selection: Mapping[str, Any]) -> str:
    """By how much the best was ahead of the chosen one, and its standard error."""
    if not round(selection["behind"], 4):
        return " was as good"
    error = selection["standard_error"]
    if error is None:
        return " was ahead, with too few users to tell them apart"
    return f" was ahead by {selection['behind']:.4f} only, with a standard error of {error:.4f}"


def _evidence(decision: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    if choice["candidate"] is None:
        return f"For {choice['recommender']} {choice['reason']}, so there was nothing to prove."
    rows = [
        row
        for row in decision["comparisons"]
        if row["recommender"] == choice["recommender"] and row["question"] == "beats"
    ]
    measured = [row for row in rows if row["ci_low"] is not None]
    result = "accepted" if choice["accepted"] else "refused"
    if not measured:
        return f"Its generated candidate, {choice['candidate']}, was {result}: {choice['reason']}."
    hardest = min(measured, key=lambda row: row["ci_low"])
    ours, theirs = hardest["candidate_mean"], hardest["comparator_mean"]
    times = max(
        _trainings(decision, hardest, hardest[side]) for side in ("candidate", "comparator")
    )
    return (
        f"For {_users(hardest['slice'])} the generated candidate, {choice['candidate']}, was "
        f"{than(ours, theirs)} {hardest['comparator']}, the hardest to beat without generated "
        f"data ({metric_words(hardest['metric'])} {ours:.3f} against {theirs:.3f} over "
        f"{hardest['n_users']:,} test users{f' and {times} trainings' if times > 1 else ''}; "
        f"{interval(hardest)}), and was {result}: {choice['reason']}."
    )


def _fine_tuned(decision: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """The outcome of fine-tuning, where validation users chose it or would have; else nothing."""
    best = choice["best_without_generated"]
    found = []
    for row in decision["comparisons"]:
        if row["recommender"] != choice["recommender"] or row["question"] != "continued":
            continue
        ours = f" From the champion's weights on, {row['candidate']}"
        retrain = f"the full retrain, {row['comparator']}"
        if row["candidate"] == best:
            found.append(f"{ours} loses no more than the margin against {retrain}{_numbers(row)}.")
        elif not row["passed"] and _validated(decision, choice, row["candidate"]) > _validated(
            decision, choice, best
        ):
            found.append(
                f"{ours} was better on validation users, but a loss beyond the margin against "
                f"{retrain}, cannot be ruled out{_numbers(row)}, so it is not chosen."
            )
    return "".join(found)


def _numbers(row: Mapping[str, Any]) -> str:
    """A comparison's means and interval in brackets; nothing where there were no users to
    measure."""
    if row["ci_low"] is None:
        return ""
    ours, theirs = row["candidate_mean"], row["comparator_mean"]
    return (
        f" ({metric_words(row['metric'])} {ours:.3f} against {theirs:.3f} over {row['n_users']:,} "
        f"test users; {interval(row)})"
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
    users = "users" if power["slice"] == "overall" else "such users"
    gain = (
        f"{power['gain']:.3f}"
        if power["relative"] is None
        else f"{rounded(100 * power['relative'])} %"
    )
    return (
        f"With {power['n_users']:,} {users} only a gain of more than about {gain} was likely "
        f"({100 * power['chance']:.0f} %) to be seen; {overall[0].lower()}{overall[1:]}"
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
        f"Over all {mine['n_users']:,} test {_users('overall', mine['n_users'])} the model reaches "
        f"{metric_words(metric)} {mine[metric]:.3f} (1 would be a perfect list)"
    )
    floor = tested.get(("popularity", "none"))
    if winner["recommender"] == "popularity" or not floor or not floor[metric]:
        return text + "."
    return (
        f"{text}, {than(mine[metric], floor[metric])} showing everybody what is popular, which "
        f"reaches {floor[metric]:.3f}."
    )


def _little_known(decision: Mapping[str, Any]) -> list[str]:
    """A warning where no model can find most of what test users want."""
    known = decision.get("known_targets")
    if known is None or known >= _LITTLE_KNOWN:
        return []
    return [
        f"Only {100 * known:.0f} % of what test users took occurs in the interactions that were "
        "trained on, so the numbers tell little: items come and go faster than this split. Let its "
        "periods begin later (prepare.split.valid_from and test_from), and retrain as often as "
        "items change."
    ]


def _refit(decision: Mapping[str, Any]) -> list[str]:
    """On what the model is trained that serves, if not on what was measured."""
    refit = decision.get("refit")
    if refit is None:
        return []
    return [
        f"These numbers are of models trained on {refit['n_training']:,} of {refit['n_all']:,} "
        "interactions, without held-out users and the latest ones; before it serves the model is "
        "trained once more, on all."
    ]


def _trainings(decision: Mapping[str, Any], row: Mapping[str, Any], policy: str) -> int:
    """The number of trainings of a comparison's arm."""
    arm = _arm(decision, {"recommender": row["recommender"], "policy": policy})
    return len(arm["repetitions"]["test"]["overall"]["values"])


def _group(row: Mapping[str, Any]) -> str:
    """A group in words: "users with 1–5 known items", "the least popular items", "gender F"."""
    name = row["group"]
    if row["kind"] == ACTIVITY:
        return _users(name)
    return ITEM_GROUPS[name] if row["kind"] == ITEMS else f"{plain(row['kind'])} {name}"


def _users(slice_name: str, n: int = 2) -> str:
    users = "user" if n == 1 else "users"
    return users if slice_name in ("overall", "all") else f"{users} with {slice_words(slice_name)}"
