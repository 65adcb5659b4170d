"""Writes results.json and the HTML pages; raises if a critical check failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from augrec.core.errors import RefusedError
from augrec.core.files import whole_directory, write_json, write_text
from augrec.validation import expectations, pages
from augrec.validation.expectations import Outcome
from augrec.validation.suites import Suite


def write(
    out: Path,
    title: str,
    suites: Sequence[Suite],
    tables: Mapping[str, Mapping[str, int]],
    belongs: Mapping[str, str],
    moment: datetime,
    *,
    note: str = "",
) -> list[Outcome]:
    """Run the suites and write the report directory, whole or not at all.

    Args:
        out: directory for index.html, a Data Docs page for each suite, and results.json.
        title: heading of the index.
        suites: the suites to run.
        tables: {table of results.json: its counts}, e.g. rows, good and quarantined.
        belongs: {suite: table it is listed under}, for suites not named like their table.
        moment: see `expectations.run`.
        note: a sentence about the data, shown on the index.

    Returns:
        The outcomes of all checks.
    """
    outcomes, docs = expectations.run(suites, moment)
    results = _results(outcomes, tables, belongs)
    with whole_directory(out) as draft:
        write_json(draft / "results.json", results)
        for suite in suites:
            write_text(
                draft / f"{suite.name}.html",
                pages.data_docs(suite.name, suite.about, docs[suite.name]),
            )
        overview = [
            (
                suite.name,
                suite.about,
                sum(o.success for o in _of(outcomes, suite)),
                len(suite.checks),
            )
            for suite in suites
        ]
        write_text(draft / "index.html", pages.index(title, results, overview, note))
    return outcomes


def refuse_failures(outcomes: Sequence[Outcome], what: str, where: str) -> None:
    """Raise if a critical check failed.

    Raises:
        RefusedError: with every failed critical check, its observed value, and what to do.
    """
    failed = [outcome for outcome in outcomes if outcome.check.critical and not outcome.success]
    if failed:
        fixes = dict.fromkeys(outcome.check.fix for outcome in failed if outcome.check.fix)
        raise RefusedError(
            f"{what}: {'; '.join(map(_failure, failed))}", where=where, fix="; ".join(fixes)
        )


def _results(
    outcomes: Sequence[Outcome], tables: Mapping[str, Mapping[str, int]], belongs: Mapping[str, str]
) -> dict[str, Any]:
    failed = [_failure(o) for o in outcomes if o.check.critical and not o.success]
    listed: dict[str, Any] = {
        name: {**counts, "expectations": []} for name, counts in tables.items()
    }
    for outcome in outcomes:
        listed[belongs.get(outcome.suite, outcome.suite)]["expectations"].append(_record(outcome))
    return {"success": not failed, "critical_failures": failed, "tables": listed}


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.check.expectation,
        "claim": outcome.check.claim,
        "column": outcome.column,
        "success": outcome.success,
        "observed": outcome.observed,
        "rows": outcome.rows,
        "critical": outcome.check.critical,
    }


def _failure(outcome: Outcome) -> str:
    return f"{outcome.suite}: {outcome.check.claim}, observed {pages.observed(_record(outcome))}"


def _of(outcomes: Sequence[Outcome], suite: Suite) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.suite == suite.name]
