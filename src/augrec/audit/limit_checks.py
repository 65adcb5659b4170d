"""Measures checked against the limits of params.yaml."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Literal

from augrec.core.errors import ConfigError

Verdict = Literal["kept", "broken", "undecided"]

NO_HELD_OUT_USERS: Final = (
    "No users are held out under this protocol, so whether a sample discloses users cannot be "
    "measured, and no sample passes: set prepare.split.protocol in params.yaml to time, "
    "held_out_users or k_fold."
)
"""Of leave_last_out, random and cold_items, which train on the users of cases too."""

_logger = logging.getLogger(__name__)


def check_limits(measures: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Verdict]:
    """Whether each limit is kept, broken or undecided, in their order.

    A measure is an estimate. Where it comes with an interval (`…_low`, `…_high`), the limit is kept
    if the whole interval keeps it, broken if the whole interval breaks it, and undecided in
    between: there are too few users. So the rate at which a sound sample is blocked is known, half
    the share outside the interval at most, however few users there are, and a sample that discloses
    its users is blocked as soon as they suffice to show it. Where a measure has a bias (`…_bias`),
    it is subtracted first. A measure that is None breaks its limit: what cannot be shown is not
    assumed.

    Raises:
        ConfigError: a limit is not "min_" or "max_" and a number's name.
    """
    return {name: _verdict(name, limit, measures) for name, limit in limits.items()}


def _verdict(name: str, limit: float, measures: Mapping[str, Any]) -> Verdict:
    kind, _, measure = name.partition("_")
    if kind not in ("min", "max") or measure not in measures or isinstance(measures[measure], str):
        known = ", ".join(key for key, value in measures.items() if not isinstance(value, str))
        raise ConfigError(
            f"{name!r} is no limit of the audit",
            where="params.yaml, audit.limits",
            fix=f"write min_ or max_ and one of: {known}",
        )
    value = measures[measure]
    if value is None:
        _logger.warning("%s could not be measured, so %s is not kept", measure, name)
        return "broken"
    ends = [measures.get(f"{measure}{end}") for end in ("_low", "_high")]
    low, high = (value if end is None else end for end in ends)
    bias = measures.get(f"{measure}_bias") or 0.0
    keeps = [end - bias >= limit if kind == "min" else end - bias <= limit for end in (low, high)]
    return "kept" if all(keeps) else "undecided" if any(keeps) else "broken"
