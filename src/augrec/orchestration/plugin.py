"""An Airflow plugin that serves the runs' reports and Data Docs next to Airflow's own pages, to
those who may see `retrain` there, and lets requests that write take turns on SQLite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer

from augrec.core import settings as settings_
from augrec.orchestration.addresses import PREFIX
from augrec.orchestration.report_links import DataDocsLink, ReportLink
from augrec.orchestration.write_turns import WriteTurns
from augrec.versioning.preload import preload

if "worker" in sys.argv:  # the scheduler, which forks tasks too, has done so before
    preload()

REPORT, PAGE = "report.html", "index.html"
"""The stage's output, and its copy that names the run, see `augrec.reporting.run_head`."""


async def allowed(request: Request) -> None:
    """Let through who may read `retrain` in Airflow: with the token of its API, or the cookie of
    its pages. A browser that is not logged in is sent to the login and back.

    Raises:
        HTTPException: 401 or 403 as of Airflow's API; 303 to the login.
    """
    # at the top, every task would import Airflow's web application
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag

    try:
        token = await HTTPBearer(auto_error=False)(request)
        user = await get_user(request, None, token)
    except HTTPException as error:
        browser = "text/html" in request.headers.get("accept", "")
        if error.status_code != 401 or not browser:
            raise
        login = f"/api/v2/auth/login?next={quote(str(request.url), safe='')}"
        raise HTTPException(303, headers={"Location": login}) from error
    requires_access_dag("GET", param_dag_id="retrain")(request, user)


app = FastAPI(
    title="augrec reports",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(allowed)],
)


@app.get("/runs/{run}/{page:path}")
def page(run: str, page: str) -> FileResponse:
    """Serve a file from the reports/ of a run; files outside that folder are never served."""
    root = (settings_.load().runs / run / "reports").resolve()
    if page == REPORT and (root / PAGE).is_file():
        page = PAGE
    target = (root / page).resolve()
    inside = root.is_relative_to(settings_.load().runs.resolve()) and target.is_relative_to(root)
    if not inside or not Path(target).is_file():
        raise HTTPException(
            404,
            f"the run {run!r} has no {page!r}: either a later task writes it, or the run was "
            "removed",
        )
    return FileResponse(target)


def middlewares() -> list[dict[str, Any]]:
    """What Airflow's API server is wrapped in."""
    one_writer = conf.get("database", "sql_alchemy_conn", fallback="").startswith("sqlite")
    return [{"middleware": WriteTurns, "name": "write turns"}] if one_writer else []


class AugrecPlugin(AirflowPlugin):
    """Registered through the `airflow.plugins` entry point in pyproject.toml."""

    name = "augrec"
    fastapi_apps = [{"app": app, "url_prefix": PREFIX, "name": "augrec reports"}]
    fastapi_root_middlewares = middlewares()
    operator_extra_links = [DataDocsLink(), ReportLink()]
