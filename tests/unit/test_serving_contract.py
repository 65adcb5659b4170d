"""The API keeps its own description, whatever is sent: generated requests, valid and not, never
meet a server error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from serving_project import make_project

from augrec.serving.app import create_app

CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service on a port of its own."""
    project = make_project(tmp_path_factory.mktemp("serving") / "shop", groups=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUGREC_HOME", str(project.home))
        environment.setenv("MLFLOW_TRACKING_URI", project.mlflow_uri)
        app = create_app(project)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started or not app.state.parts.ready:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_nothing_a_client_sends_is_a_server_error(address: str) -> None:
    command = [
        sys.executable,
        "-c",
        "from schemathesis.cli import schemathesis; schemathesis()",
        "run",
        f"{address}/openapi.json",
        "--checks",
        CHECKS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "10",
        "--generation-deterministic",
        "--no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 12" in done.stdout
