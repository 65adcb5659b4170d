"""Links from Airflow's task pages to the reports of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from augrec.core import settings as settings_
from augrec.versioning.workspace import folder_name

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/augrec"
"""Path under which the API server serves the runs' reports, see `plugin`."""


def report_url(run_id: str, page: str) -> str:
    """The URL of a file in a run's reports/, e.g. "report.html"."""
    return f"{settings_.load().airflow_url}{PREFIX}/runs/{quote(folder_name(run_id))}/{page}"


class DataDocsLink(BaseOperatorLink):
    """Link to the Great Expectations Data Docs of this run."""

    name = "Data Docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return report_url(ti_key.run_id, "validation/index.html")


class ReportLink(BaseOperatorLink):
    """Link to the report of this run."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return report_url(ti_key.run_id, "report.html")
