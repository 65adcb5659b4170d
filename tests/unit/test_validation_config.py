from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from augrec.core.errors import ConfigError
from augrec.validation.config import latest_timestamp, read_config

PROJECT = Path(__file__).parents[2]


def params(**changes: Any) -> dict[str, Any]:
    found = yaml.safe_load((PROJECT / "params.yaml").read_text())
    found["validation"].update(changes)
    return found


def window(start: Any, end: Any) -> dict[str, Any]:
    return {**params(), "data": {"window": {"start": start, "end": end}}}


def test_the_projects_own_params_are_valid() -> None:
    allowed, open_window = read_config(params())
    assert allowed.earliest.tzinfo == UTC
    assert (open_window.start, open_window.end) == (None, None)


def test_an_unknown_limit_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"validation\.min_intractions"):
        read_config(params(min_intractions=5))


@pytest.mark.parametrize(
    "changes",
    [
        {"min_users": 0},
        {"max_quarantined_share": 1.5},
        {"events": []},
        {"value": {"min": 5, "max": 1}},
        {"value": {"min": 0, "max": float("nan")}},
        {"earliest": "long ago"},
        {"earliest": "2101-01-01"},
        {"earliest": 5},
    ],
)
def test_impossible_limits_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="validation"):
        read_config(params(**changes))


def test_a_missing_section_is_refused() -> None:
    with pytest.raises(ConfigError, match="section validation is missing"):
        read_config({"data": {"window": None}})


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("yesterday", None),
        ("31.01.2024", None),
        (20240131, None),
        (None, "2024-13-01"),
        ("2024-02-01", "2024-01-01"),
        ("2024-01-01", "2024-01-01"),
        (True, None),
    ],
)
def test_a_bad_window_is_refused(start: Any, end: Any) -> None:
    with pytest.raises(ConfigError, match=r"data\.window"):
        read_config(window(start, end))


def test_times_mean_utc_unless_they_say_otherwise() -> None:
    _, found = read_config(window("2024-01-31", "2024-01-31T12:00:00+02:00"))
    assert found.start == datetime(2024, 1, 31, tzinfo=UTC)
    assert found.end == datetime(2024, 1, 31, 10, tzinfo=UTC)


def test_the_future_begins_when_the_snapshot_was_taken_or_else_at_the_fixed_bound() -> None:
    allowed, _ = read_config(params())
    taken = datetime(2024, 5, 1, tzinfo=UTC)
    assert latest_timestamp(allowed, taken) == taken
    assert latest_timestamp(allowed, None) == allowed.latest
    assert latest_timestamp(allowed, datetime(2500, 1, 1, tzinfo=UTC)) == allowed.latest
