"""An audit's numbers and limits as rows to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def measures(audit: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Every number of an audit.json, by name."""
    parts = [(audit or {}).get(part) or {} for part in ("fidelity", "diversity", "privacy")]
    return {name: value for part in parts for name, value in part.items() if not isinstance(value, str)}


def limits(audit: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One row for each limit of an audit.json: name, value (measured), bound ("≥", "≤"), limit, passed."""
    if not audit:
        return []
    found = measures(audit)
    rows = []
    for name, limit in (audit.get("limits") or {}).items():
        bound, _, measure = name.partition("_")
        rows.append({"name": measure, "value": found.get(measure), "bound": {"min": "≥", "max": "≤"}.get(bound, ""),
                     "limit": limit, "passed": name not in audit.get("failed_limits", [])})  # fmt: skip
    return rows
