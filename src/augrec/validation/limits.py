"""The limits of `validation` and the window of `data.window` in params.yaml, typed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from augrec.core.config import BaseConfig, parse
from augrec.core.errors import ConfigError


def moment(value: object) -> datetime:
    """A time in UTC from an ISO 8601 text, a date or a time; UTC where no zone is said.

    Raises:
        ValueError: it is none of these.
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


Moment = Annotated[datetime, BeforeValidator(moment)]


class Range(BaseConfig):
    """Numbers from `min` to `max`, both inside."""

    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Limits(BaseConfig):
    """`validation`: what the raw tables must keep. Rows outside are quarantined; the critical
    limits stop the run."""

    events: list[str] = Field(min_length=1)
    """Every event there may be."""
    value: Range
    """Values of events, where an event has one."""
    price: Range = Range(min=0.0, max=1e9)
    """Prices of items, where known."""
    min_interactions: int = Field(ge=1)
    """Critical: at least so many rows must be left for training, after quarantine and window."""
    min_users: int = Field(ge=1)
    """Critical: at least so many distinct users."""
    min_items: int = Field(ge=1)
    """Critical: at least so many distinct items."""
    max_quarantined_share: float = Field(ge=0, le=1)
    """Critical for interactions: of all rows of the snapshot. Only reported for items and users."""
    max_unknown_item_share: float = Field(default=0.2, ge=0, le=1)
    """Only reported: of the interactions, those with items that have no row in a non-empty items
    table."""
    earliest: Moment
    """Older timestamps are bad."""
    latest: Moment = datetime(2100, 1, 1, tzinfo=UTC)
    """Later timestamps are bad. A snapshot that says when it was taken sets an earlier bound; see
    `latest_of`."""

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.earliest >= self.latest:
            raise ValueError(f"earliest {self.earliest} is not before latest {self.latest}")
        return self


class Window(BaseConfig):
    """`data.window`: interactions in [start, end) are kept; null is open."""

    start: Moment | None = None
    end: Moment | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


def read(params: Mapping[str, Any]) -> tuple[Limits, Window]:
    """The two sections of params.yaml that validation obeys.

    Raises:
        ConfigError: a section is missing, a key is unknown or a value impossible; the message names
            each.
    """
    if not isinstance(params.get("validation"), Mapping):
        raise ConfigError(
            "there is no section validation",
            where="params.yaml",
            fix=f"give it the keys {', '.join(Limits.model_fields)}",
        )
    window = (params.get("data") or {}).get("window") or {}
    return parse(Limits, params["validation"], "validation"), parse(Window, window, "data.window")


def latest_of(limits: Limits, taken_at: datetime | None) -> datetime:
    """The last moment at which an interaction of this snapshot can have happened.

    A stage is a pure function of its files, so "in the future" cannot mean later than the clock of
    whoever runs it: it means later than the moment the snapshot was taken, where the snapshot says
    so, and never later than `validation.latest`, which still catches what a wrong unit of time
    makes of a date.
    """
    return limits.latest if taken_at is None else min(taken_at, limits.latest)
