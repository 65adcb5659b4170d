"""Parameters and metrics in the forms MLflow takes: flat, as text without secrets, finite numbers
under allowed names. Nothing here touches MLflow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_MAX_VALUE = 6000
_SECRET_KEY = re.compile(r"passw|secret|token|credential|api[-_]?key|connection", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(\w+://[^\s:/@]*):[^\s@]+@")


def flatten(value: Any, prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Nested mappings as one, keys joined; a list stays one value unless it holds mappings."""
    if isinstance(value, Mapping) and value:
        items = ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        items = ((str(place), inner) for place, inner in enumerate(value))
    else:
        return {prefix: value} if prefix else {}
    return {
        key: leaf
        for name, inner in items
        for key, leaf in flatten(
            inner, f"{prefix}{separator}{name}" if prefix else name, separator
        ).items()
    }


def texts(value: Any) -> dict[str, str]:
    """Flat parameters as text, secrets left out."""
    return {key: redact(key, leaf)[:_MAX_VALUE] for key, leaf in flatten(value).items()}


def redact(key: str, value: object) -> str:
    """`value` as text, without passwords."""
    if _SECRET_KEY.search(key) and value is not None:
        return "(hidden)"
    return _PASSWORD_IN_URL.sub(r"\1:(hidden)@", str(value))


def metrics(value: Any) -> dict[str, float]:
    """Flat finite numbers under names MLflow takes: "test/slices/1-5/ndcg_at_10"."""
    leaves = flatten(value, separator="/")
    return {
        metric_name(key): float(leaf)
        for key, leaf in leaves.items()
        if isinstance(leaf, int | float) and math.isfinite(leaf)
    }


def metric_name(name: str) -> str:
    """MLflow refuses "@" and "+" in names."""
    return re.sub(
        r"[^\w\-. :/]", "_", name.replace("@", "_at_").replace("+", "_plus"), flags=re.ASCII
    )
