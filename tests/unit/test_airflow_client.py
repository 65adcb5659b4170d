"""Calls that Airflow fails on are made again, and start nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from augrec.core import settings
from augrec.core.errors import TransientError
from augrec.orchestration import client
from augrec.orchestration.client import Airflow


class Locked(BaseHTTPRequestHandler):
    """Answers as Airflow does where SQLite's lock ran out: 500 for the first `failures` runs asked
    for."""

    failures = 0
    asked: list[dict[str, Any]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, told = 200, {"access_token": "-"}
        if self.path.endswith("/dagRuns"):
            self.asked.append(json.loads(body))
            status = 500 if len(self.asked) <= self.failures else 200
            told = {"dag_run_id": self.asked[-1]["dag_run_id"], "detail": "Database error"}
        sent = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    Locked.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Locked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "var" / "airflow").mkdir(parents=True)
    (tmp_path / "var" / "airflow" / "passwords.json").write_text(json.dumps({"admin": "x"}))
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setenv("AUGREC_AIRFLOW_PORT", str(server.server_port))
    monkeypatch.setattr(client, "_PAUSES_S", (0.0, 0.0))
    yield Airflow(settings.load())
    server.shutdown()
    server.server_close()


def test_a_run_that_failed_to_start_is_asked_for_again_by_the_same_name(airflow, monkeypatch):
    monkeypatch.setattr(Locked, "failures", 2)
    started = airflow.trigger("retrain", {"seed": 2})
    assert [one["dag_run_id"] for one in Locked.asked] == [started] * 3 and started.startswith(
        "manual__"
    )


def test_an_error_that_lasts_is_reported(airflow, monkeypatch):
    monkeypatch.setattr(Locked, "failures", 9)
    with pytest.raises(TransientError, match=r"Airflow answered 500: Database error"):
        airflow.trigger("retrain", run_id="mine")
    assert len(Locked.asked) == 3
