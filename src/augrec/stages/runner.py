"""How a stage is run: logging to stdout, errors that a parent process can read, an end with that
process."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from augrec.core.errors import TRANSIENT_EXIT, AugrecError, TransientError
from augrec.core.files import write_text
from augrec.core.full_disk import full_disk_is_transient

FAILURE_VARIABLE = "AUGREC_FAILURE"
"""Names a file to which a failing stage writes its error as JSON, so that whoever started it can
show it."""

STARTER_VARIABLE = "AUGREC_STARTER"
"""Process id of whoever started the stage; the stage ends when that process does."""

CURVE_VARIABLE = "AUGREC_CURVE"
"""Names a file to which a stage appends each row of a training curve as a line of JSON, so that it
can be followed."""

_OUT_OF_MEMORY: Final = re.compile("can't allocate memory|out of memory", re.IGNORECASE)
"""What torch says; its error for the CPU is a plain RuntimeError."""

log = logging.getLogger(__name__)


def run(stage: Callable[..., None]) -> None:
    """Run a stage's function with the command line's words as its arguments; exit as its error
    demands."""
    _end_with_starter()
    # whoever started the stage and follows its log has the times already
    timed = "" if STARTER_VARIABLE in os.environ else "%(asctime)s "
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format=f"{timed}%(message)s",
        datefmt="%H:%M:%S",
    )
    try:
        with named_shortages():
            stage(*sys.argv[1:])
    except AugrecError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if FAILURE_VARIABLE in os.environ:
            write_text(Path(os.environ[FAILURE_VARIABLE]), error.to_json())
        sys.exit(error.exit_code)


@contextmanager
def named_shortages() -> Iterator[None]:
    """Say so where memory or disk space ran out, whichever library noticed it.

    Raises:
        TransientError: in place of that library's error.
    """
    try:
        with full_disk_is_transient(Path.cwd()):
            yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        said = (str(error).strip() or "MemoryError").splitlines()[0]
        raise TransientError(
            f"memory ran out: {said}",
            where=" ".join([Path(sys.argv[0]).stem, *sys.argv[1:]]),
            fix="if it happens again, add memory or set smaller batches in params.yaml",
        ) from error


def tell_curve(role: str, name: str, row: Mapping[str, float]) -> None:
    """Show a row of a training curve: in the log, and to whoever started the stage and follows it.

    Args:
        role: "generator" or "recommender".
        name: e.g. "profile_gan" or "multvae/none".
        row: "step" and what was measured there.
    """
    log.info("%s %s: %s", role, name, "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if CURVE_VARIABLE in os.environ:
        line = json.dumps({"role": role, "name": name, "row": dict(row)})
        with Path(os.environ[CURVE_VARIABLE]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _end_with_starter() -> None:
    """End when the process that started this stage is gone: a killed task must not leave work going
    on behind it.

    The starter is named by its process id, because a shell may stand between it and this stage.
    """
    starter = os.environ.get(STARTER_VARIABLE)
    if starter is None:
        return

    def watch() -> None:
        while _lives(int(starter)):
            time.sleep(0.5)
        os._exit(TRANSIENT_EXIT)

    threading.Thread(target=watch, daemon=True).start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
