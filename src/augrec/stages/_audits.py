"""What the audits found, for the stages that go by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from augrec.core.errors import RefusedError
from augrec.core.files import read_json

FOLDER = Path("reports/audit")
Audits = Mapping[str, Mapping[str, Any]]
"""audit.json by generator."""


def read_audits(generators: Iterable[str]) -> Audits:
    """What there is of the named generators; a missing audit counts as failed."""
    paths = {name: FOLDER / name / "audit.json" for name in sorted(generators)}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def refusal(policy: str, failed: Sequence[str], audits: Audits) -> RefusedError:
    """Why a policy whose rows are to leave the house is not built: what its samples' audits saw,
    and what to do."""
    advice = {told for name in failed if (told := audits.get(name, {}).get("advice"))}
    todo = sorted(advice) or ["Train the generator again with fewer steps, or with privacy."]
    return RefusedError(
        f"the rows of {policy} are meant to be shared, and these samples did not pass the audit: "
        + "; ".join(f"{name} ({_seen(audits.get(name))})" for name in failed),
        where=", ".join(str(FOLDER / name / "index.html") for name in failed),
        fix=" ".join([*todo, f"Or take {policy} out of run.policies."]),
    )


def _seen(audit: Mapping[str, Any] | None) -> str:
    """Each broken limit with what was measured."""
    if audit is None:
        return "missing: run the stage audit"
    measures = {
        key: value
        for part in audit.values()
        if isinstance(part, Mapping)
        for key, value in part.items()
    }
    told = []
    for limit in audit["failed_limits"]:
        kind, _, measure = limit.partition("_")
        value = measures.get(measure)
        found = "could not be measured" if value is None else f"{value:.3g}"
        bound = f"at {'least' if kind == 'min' else 'most'} {audit['limits'][limit]:g}"
        unsure = ", too few people to tell" if limit in audit["undecided_limits"] else ""
        told.append(f"{measure} {found}, {bound}{unsure}")
    return "; ".join(told)
