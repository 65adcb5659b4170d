"""Output of all commands: one console, short paths, errors without tracebacks."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from augrec.core.errors import AugrecError, ConfigError, InputError, PermanentError, TransientError

_PIPED_WIDTH = 100
_BROKEN = {
    "polars": (
        "a data file cannot be read",
        "import the data again: `augrec data get` or `augrec data import`",
    ),
    "sqlalchemy": (
        "a database cannot be used",
        "check that it belongs to augrec and is complete; MLflow's is var/mlflow/mlflow.db, which "
        "can only be restored from a backup",
    ),
    "json": (
        "a JSON file is incomplete",
        "restore or remove it: `augrec down` and `augrec up` create var/platform.json again",
    ),
}
"""Package that raised an error -> what is wrong, and what to do."""
INTERRUPTED = 130  # 128 + SIGINT, as shells do

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH)


def short_path(path: Path) -> str:
    """The path relative to the working directory if it is inside, else the path itself."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def paragraphs(text: str, style: str = "") -> None:
    """Print lines; those too long for the terminal are wrapped at their own indentation."""
    for line in text.splitlines():
        words = line.lstrip()
        indent, hanging = len(line) - len(words), words.startswith("- ")
        row = Table.grid()
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_row(
            Text("- " if hanging else "", style), Text(words[2:] if hanging else words, style)
        )
        console.print(Padding(row, (0, 0, 0, indent)))


@contextmanager
def redirect_output(log: Path) -> Iterator[Console]:
    """Write everything that the block and its child processes print to `log`; the console that is
    yielded still prints to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with (
        log.open("w", encoding="utf-8") as target,
        os.fdopen(os.dup(1), "w", encoding="utf-8") as out,
    ):
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        try:
            yield Console(file=out, width=console.width)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in enumerate(kept, start=1):
                os.dup2(old, number)
                os.close(old)


@contextmanager
def warnings_of(logger: str) -> Iterator[list[str]]:
    """Collect the warnings that a logger and those below it write in the block, instead of showing
    them; on an error they are shown."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(logger).addHandler(handler)
    try:
        yield found
    except AugrecError:
        for warning in found:
            console.print(Text.assemble(("Warning: ", "bold yellow"), warning))
        raise
    finally:
        logging.getLogger(logger).removeHandler(handler)


def show_error(error: AugrecError) -> None:
    """Print what is wrong, where, and what to do, on the error stream."""
    out = Console(
        stderr=True, width=None if sys.stderr.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    )
    title = "Not now" if isinstance(error, TransientError) else "Error"
    out.print(Text.assemble((f"{title}: ", "bold red"), error.what))
    if error.where:  # may be a path: without line breaks, so that it can be copied
        out.print(Text.assemble(("  where  ", "dim"), error.where), soft_wrap=True)
    if error.fix:
        row = Table.grid()
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_row(Text("  fix    ", "dim"), Text(error.fix))
        out.print(row)


def run_command(command: Callable[[], None]) -> None:
    """Run a command; show any error in augrec's format and exit with its exit code."""
    try:
        command()
    except AugrecError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        shown = as_augrec_error(error)
        show_error(shown)
        sys.exit(shown.exit_code)


def as_augrec_error(error: Exception) -> AugrecError:
    """Convert an error of Python or a library to one of augrec's."""
    import yaml

    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        place = (
            f"params.yaml or dvc.yaml, line {mark.line + 1}" if mark else "params.yaml or dvc.yaml"
        )
        problem = getattr(error, "problem", None) or "it is not YAML"
        return ConfigError(
            f"a YAML file cannot be read: {problem}",
            where=place,
            fix="correct that line; `git diff` shows uncommitted changes",
        )
    if isinstance(error, OSError) and error.filename:
        return InputError(
            f"{error.strerror or error}",
            where=str(error.filename),
            fix="check that it exists, that you may access it, and that the disk is not full",
        )
    kept = _keep_traceback(error)
    room = type(error).__module__.partition(".")[0]
    if room in _BROKEN:
        what, fix = _BROKEN[room]
        return InputError(
            f"{what}: {_first_line(error)}", where=f"{kept} contains the traceback", fix=fix
        )
    return PermanentError(
        f"unexpected error: {type(error).__name__}: {str(error)[:500]}",
        where=f"{kept} contains the traceback",
        fix="if the message does not show what to correct, this is a bug in augrec: report it with "
        "that file",
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _keep_traceback(error: Exception) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="augrec-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as kept:
        kept.writelines(traceback.format_exception(error))
    return kept.name
