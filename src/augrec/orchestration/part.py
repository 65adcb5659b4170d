"""Starts a part of the platform, for supervisord: `python -m augrec.orchestration.part COMMAND …`.

Before the command it ends what an earlier start of the same part left behind, such as the tasks of
a scheduler that was killed, and records the start.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

NAME = "SUPERVISOR_PROCESS_NAME"
"""The variable in which supervisord names the part to its processes."""


def main(command: list[str]) -> None:
    """Replace this process by the command, once nothing is in its way."""
    var = Path(os.environ["AUGREC_VAR"])
    name = os.environ[NAME]
    end(leftovers(var, name))
    record_start(var, name)
    if name == "scheduler":
        _wait_for_api_server(os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
    os.execvp(command[0], command)


def starts_file(var: Path) -> Path:
    """The file with one line of JSON for each start of a part since supervisord was started."""
    return var / "logs" / "starts.log"


def record_start(var: Path, name: str) -> None:
    """Append the start of this process to the log of starts."""
    entry = {"part": name, "pid": os.getpid(), "at": datetime.now(UTC).isoformat()}
    with starts_file(var).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def leftovers(var: Path, name: str | None = None) -> list[psutil.Process]:
    """The processes of a part, or of all parts, apart from this process, its parents, and where
    `var` is another's; oldest first."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in own and _belongs(process.environ(), var, name):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def end(processes: list[psutil.Process]) -> None:
    """Kill processes, in order: a task's supervisor before its task, so that it cannot report the
    task as failed."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def _belongs(variables: Mapping[str, str], var: Path, name: str | None) -> bool:
    part = variables.get(NAME)
    return part is not None and variables.get("AUGREC_VAR") == str(var) and name in {None, part}


def _wait_for_api_server(url: str) -> None:
    """Wait until the API server listens: a task that cannot reach it would lose a try."""
    while True:
        try:
            with urlopen(f"{url}health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1:])
