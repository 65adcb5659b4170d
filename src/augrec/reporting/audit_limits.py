"""An audit's measures and limits as rows for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augrec.reporting.words import between

PARTS: Final = ("fidelity", "diversity", "privacy", "leak", "utility", "extensions", "new_items")
"""The parts of an audit.json that hold measures."""


def measures(audit: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Every number of an audit.json, by name."""
    parts = [(audit or {}).get(part) or {} for part in PARTS]
    return {
        name: value
        for part in parts
        for name, value in part.items()
        if not isinstance(value, (str, Mapping))
    }


def limits(audit: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One row for each limit of an audit.json.

    name, value (measured), interval (in words, empty where there is none), bias (subtracted from
    the value first), bound ("≥", "≤"), limit, passed, undecided (the limit lies inside the
    interval).
    """
    if not audit:
        return []
    found = measures(audit)
    rows = []
    for name, limit in (audit.get("limits") or {}).items():
        bound, _, measure = name.partition("_")
        rows.append(
            {
                "name": measure,
                "value": found.get(measure),
                "bound": {"min": "≥", "max": "≤"}.get(bound, ""),
                "interval": between(found, measure, missing=""),
                "bias": found.get(f"{measure}_bias") or 0.0,
                "limit": limit,
                "passed": name not in audit.get("failed_limits", []),
                "undecided": name in audit.get("undecided_limits", []),
            }
        )
    return rows
