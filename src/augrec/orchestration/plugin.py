"""An Airflow plugin that serves the runs' reports and Data Docs next to Airflow's own pages."""

from __future__ import annotations

from pathlib import Path

from airflow.plugins_manager import AirflowPlugin
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from augrec.core import settings as settings_
from augrec.orchestration.report_links import PREFIX, DataDocsLink, ReportLink
from augrec.versioning import stages

# LocalExecutor forks tasks from the process that loads plugins: import here, not in every task
stages.preload()

app = FastAPI(title="augrec reports", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/runs/{run}/{page:path}")
def page(run: str, page: str) -> FileResponse:
    """Serve a file from the reports/ of a run; files outside that folder are never served."""
    root = (settings_.load().runs / run / "reports").resolve()
    target = (root / page).resolve()
    inside = root.is_relative_to(settings_.load().runs.resolve()) and target.is_relative_to(root)
    if not inside or not Path(target).is_file():
        raise HTTPException(
            404,
            f"the run {run!r} has no {page!r}: either a later task writes it, or the run was "
            "removed",
        )
    return FileResponse(target)


class AugrecPlugin(AirflowPlugin):
    """Registered through the `airflow.plugins` entry point in pyproject.toml."""

    name = "augrec"
    fastapi_apps = [{"app": app, "url_prefix": PREFIX, "name": "augrec reports"}]
    operator_extra_links = [DataDocsLink(), ReportLink()]
