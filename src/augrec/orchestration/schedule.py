"""What starts the DAGs, and what all their tasks have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from airflow.sdk import Asset, CronTriggerTimetable

from augrec.orchestration.placement import placed

RAW_DATA: Final = Asset(uri="augrec://data/raw", name="raw_data")
"""Updated by `ingest` when the tables changed; `retrain` is scheduled by it."""

DEFAULTS: Final[dict[str, Any]] = {
    "owner": "augrec",
    "show_return_value_in_logs": False,
    **placed("project"),
}
"""Default arguments of every task; what one has to say, it says in its log in words."""


def every(cron: str) -> CronTriggerTimetable:
    """A schedule in UTC whose first run is in the future.

    Left to itself, Airflow also runs a time that has passed by less than a tenth of the period: on
    a Monday the first manual run of a weekly DAG, which unpauses it, would be followed by another.
    A minute allows for a scheduler that is late.
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(minutes=1))
