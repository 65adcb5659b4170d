"""Where a run is found in Airflow, and its reports next to it."""

from __future__ import annotations

from urllib.parse import quote

from augrec.core import settings as settings_
from augrec.versioning.workspace import folder_name

PREFIX = "/augrec"
"""Path under which the API server serves the runs' reports, see `plugin`."""


def report_url(run_id: str, page: str) -> str:
    """The URL of a file in a run's reports/, e.g. "report.html"."""
    return f"{settings_.load().airflow_url}{PREFIX}/runs/{quote(folder_name(run_id))}/{page}"


def version_url(version: str) -> str:
    """The URL of a registered version in MLflow."""
    page = f"models/augrec-recommender/versions/{version}?workflowType=machine_learning"
    return f"{settings_.load().mlflow_url}/#/{page}"


def run_url(run_id: str) -> str:
    """The URL of a run of `retrain` in Airflow."""
    return f"{settings_.load().airflow_url}/dags/retrain/runs/{quote(run_id)}"
