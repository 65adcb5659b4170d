"""The page of an audit: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augrec.core.files import write_text
from augrec.data.slices import SLICES
from augrec.reporting import audit_figures, load, words
from augrec.reporting.audit_limits import limits, measures
from augrec.reporting.audit_rows import sections
from augrec.reporting.pages import render
from augrec.reporting.words import number

_DRAWN = {
    "alike": (
        audit_figures.popularity,
        audit_figures.lengths,
        audit_figures.values,
        audit_figures.gaps,
        audit_figures.events,
        audit_figures.categories,
        audit_figures.clusters,
    ),
    "varied": (audit_figures.places,),
    "private": (audit_figures.attack, audit_figures.neighbours),
}


def write(path: Path, verdict: Mapping[str, Any], distributions: Mapping[str, Any]) -> None:
    """Write the page of an audit.

    Args:
        path: the HTML file; it loads nothing from anywhere.
        verdict, distributions: what `augrec.audit.sample_audit.audit_sample` gives.
    """
    facts = load.GeneratorFacts(verdict["generator"], None, verdict, distributions, [], None)
    rows = limits(verdict)
    page = render(
        "audit.html",
        audit=verdict,
        lead=_lead(verdict),
        big=_big_numbers(verdict),
        limits=rows,
        sections=sections(verdict),
        drawn={
            name: [figure for draw in drawings if (figure := draw(facts))]
            for name, drawings in _DRAWN.items()
        },
        utility=_utility(verdict.get("utility") or {}),
        promised=(verdict.get("sample") or {}).get("privacy"),
    )
    write_text(path, page)


def _lead(verdict: Mapping[str, Any]) -> list[str]:
    """The verdict in a few sentences."""
    failed, undecided = verdict["failed_limits"], verdict.get("undecided_limits") or []
    found = measures(verdict)
    unknown = [name for name in failed if found.get(name.partition("_")[2]) is None]
    broken = [name for name in failed if name not in unknown]
    if failed:
        sentences = ["Nothing made with it may be chosen, nor shared."]
        if broken:
            beyond = "lies beyond its limit" if len(broken) == 1 else "lie beyond their limits"
            sentences.append(f"{_listed(broken)} {beyond}.")
        if unknown:
            sentences.append(f"{_listed(unknown)} could not be measured, which breaks the limit.")
        if advice := verdict.get("advice"):
            sentences.append(advice)
    else:
        sentences = [
            "No limit of the audit is broken, so policies may use it; whether it helps is decided "
            "by the gate."
        ]
    rest = [name for name in undecided if name not in failed]
    if rest:
        sentences.append(
            f"There are too few users to decide on {_listed(rest)}: the limit lies inside the "
            "interval, and such a limit passes by configuration."
        )
    return sentences


def _listed(names: list[str]) -> str:
    plain = [f"“{words.measure(name.partition('_')[2])}”" for name in names]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"


def _big_numbers(verdict: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(value, what it is, what to compare it with)."""
    privacy, utility = verdict["privacy"], verdict.get("utility") or {}
    diversity, fidelity = verdict["diversity"], verdict["fidelity"]
    ends = words.between(privacy, "attack_auc")
    numbers = [
        (
            number(privacy.get("attack_auc"), 2),
            "AUC of the attack on its training users",
            "too few users were held out to measure it"
            if privacy.get("attack_auc") is None
            else f"{ends}; 0.50 is guessing",
        )
    ]
    numbers.append(
        (
            _hundredths(fidelity.get("c2st_accuracy")),
            "of users classified correctly as real or synthetic",
            "50 % is guessing",
        )
    )
    numbers.append(
        (
            _hundredths(diversity.get("item_coverage")),
            "of the items of real users",
            "100 % is best",
        )
    )
    if utility.get("tstr_ratio") is not None:
        note = f"{number(utility['tstr'])} against {number(utility['trtr'])} with real users"
        numbers.append(
            (
                _hundredths(utility["tstr_ratio"]),
                f"of the {words.metric_words(utility['metric'])} after training on real users",
                note,
            )
        )
    return numbers


def _utility(utility: Mapping[str, Any]) -> dict[str, Any] | None:
    """The table: one row for all users and one for each slice."""
    if utility.get("trtr") is None:
        return None
    parts = utility.get("slices") or {}
    rows = [("all", utility), *((name, parts[name]) for name in SLICES if name in parts)]
    return {
        **utility,
        "rows": [(name, part, _hundredths(part["tstr_ratio"])) for name, part in rows],
        "interval": words.between(utility, "tstr_difference", signed=True),
    }


def _hundredths(value: float | None) -> str:
    return words.MISSING if value is None else f"{100 * value:.0f} %"
