"""The sections `validation` and `data.window` of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from augrec.core.config import BaseConfig, parse
from augrec.core.errors import ConfigError


def parse_time(value: object) -> datetime:
    """A time in UTC from an ISO 8601 text, a date or a time; without a time zone it is UTC.

    Raises:
        ValueError: `value` is none of these.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise ValueError(f"{value!r} is not an ISO date such as 2024-01-31") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not an ISO date such as 2024-01-31")
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


UtcTime = Annotated[datetime, BeforeValidator(parse_time)]


class Range(BaseConfig):
    """A closed interval."""

    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class ValidationConfig(BaseConfig):
    """`validation`: limits on the raw tables. A row that violates one is quarantined; a violated
    critical limit stops the run."""

    events: list[str] = Field(min_length=1)
    """All valid values of the column `event`."""
    value: Range
    """Valid range of the column `value`, where it is not null."""
    price: Range = Range(min=0.0, max=1e9)
    """Valid range of item prices, where they are not null."""
    min_interactions: int = Field(ge=1)
    """Critical: minimum number of rows left after quarantine and window."""
    min_users: int = Field(ge=1)
    """Critical: minimum number of distinct users."""
    min_items: int = Field(ge=1)
    """Critical: minimum number of distinct items."""
    max_quarantined_share: float = Field(ge=0, le=1)
    """Maximum share of the snapshot's rows in quarantine: critical for interactions, only reported
    for the other tables."""
    max_unknown_item_share: float = Field(default=0.2, ge=0, le=1)
    """Only reported: maximum share of interactions whose item has no row in the items table, if
    that table is not empty."""
    max_group_members: int = Field(default=50, ge=2)
    """Larger groups of people who decide together are invalid."""
    earliest: UtcTime
    """Earlier timestamps are invalid."""
    latest: UtcTime = datetime(2100, 1, 1, tzinfo=UTC)
    """Later timestamps are invalid. A snapshot with `taken_at` sets an earlier bound, see
    `latest_timestamp`."""

    @model_validator(mode="after")
    def _ordered(self) -> ValidationConfig:
        if self.earliest >= self.latest:
            raise ValueError(f"earliest {self.earliest} is not before latest {self.latest}")
        return self


class WindowConfig(BaseConfig):
    """`data.window`: interactions in [start, end) are kept; null means unbounded."""

    start: UtcTime | None = None
    end: UtcTime | None = None

    @model_validator(mode="after")
    def _ordered(self) -> WindowConfig:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


def read_config(params: Mapping[str, Any]) -> tuple[ValidationConfig, WindowConfig]:
    """Read both sections.

    Raises:
        ConfigError: `validation` is missing, a key is unknown or a value invalid; the message names
            each of them.
    """
    if not isinstance(params.get("validation"), Mapping):
        raise ConfigError(
            "the section validation is missing",
            where="params.yaml",
            fix=f"add it with the keys {', '.join(ValidationConfig.model_fields)}",
        )
    window = (params.get("data") or {}).get("window") or {}
    return parse(ValidationConfig, params["validation"], "validation"), parse(
        WindowConfig, window, "data.window"
    )


def latest_timestamp(limits: ValidationConfig, taken_at: datetime | None) -> datetime:
    """The latest valid timestamp of an interaction in this snapshot.

    A stage is a pure function of its files, so "in the future" cannot depend on the clock. It means
    later than `taken_at`, if the snapshot has one, and in any case later than `validation.latest`,
    which catches timestamps read in a wrong unit.
    """
    return limits.latest if taken_at is None else min(taken_at, limits.latest)
