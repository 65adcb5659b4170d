"""Run a stage of dvc.yaml through DVC, which restores the outputs of an earlier run with the same
inputs."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from augrec.core.errors import TRANSIENT_EXIT, PermanentError, TransientError, from_json
from augrec.core.full_disk import full_disk_is_transient
from augrec.versioning.curve_tail import CurveSink, tail_curve

if TYPE_CHECKING:
    from dvc.repo import Repo

log = logging.getLogger(__name__)

Outcome = Literal["ran", "restored"]
LOCK_WAIT_S = 120.0
_QUIET = {"DVC_NO_ANALYTICS": "1"}


@dataclass(frozen=True)
class Stage:
    """A stage with matrix members and parameters resolved by DVC."""

    name: str
    cmd: str
    deps: list[str]
    outs: list[str]

    @property
    def group(self) -> str:
        """The name in dvc.yaml: "train" for "train@ease-none"."""
        return self.name.partition("@")[0]

    @property
    def member(self) -> str:
        """The member of a matrix: "ease-none" for "train@ease-none", else empty."""
        return self.name.partition("@")[2]


@contextmanager
def opened(workspace: Path) -> Iterator[Repo]:
    """Open a workspace with DVC; the workspace is the working directory inside the block, as DVC
    expects."""
    os.environ.update(_QUIET)
    from dvc.repo import Repo

    from augrec.versioning import checked_cache, lock_writer

    _quieten_dvc()
    lock_writer.install()
    before = Path.cwd()
    os.chdir(workspace)
    # by default DVC waits 3 s for its lock; a stage that has run but could not be recorded would
    # have to run again
    repo = Repo(str(workspace), _wait_for_lock=True)
    checked_cache.install(repo)
    try:
        yield repo
    finally:
        checked_cache.close(repo)
        repo.close()
        os.chdir(before)


def plan(workspace: Path) -> list[Stage]:
    """All stages of a workspace, dependencies first.

    Raises:
        PermanentError: dvc.yaml and params.yaml do not match; contains DVC's message.
    """
    from dvc.exceptions import DvcException

    try:
        with opened(workspace) as repo:
            graph = repo.index.graph
            import networkx

            ordered = [stage for stage in networkx.dfs_postorder_nodes(graph) if stage.cmd]
            return [_describe(stage) for stage in ordered]
    except DvcException as error:
        raise PermanentError(
            f"DVC cannot read the pipeline: {_message(error)}",
            where=str(workspace / "dvc.yaml"),
            fix="run `dvc dag` there; a likely cause is a name under `run` in params.yaml that is "
            "not defined",
        ) from error


def run_stage(
    workspace: Path, name: str, *, force: bool = False, curve_sink: CurveSink | None = None
) -> Outcome:
    """Run one stage, or restore its outputs if it has run with the same inputs, parameters and code
    before.

    Args:
        workspace: the folder with dvc.yaml.
        name: e.g. "prepare" or "train@ease-none".
        force: run even if the outputs could be restored.
        curve_sink: receives the rows of training curves while the stage runs; if it fails, the
            stage goes on.

    Raises:
        PermanentError: the stage failed; the same error that it raised.
        TransientError: the stage was killed, or raised a transient error.
    """
    from dvc.exceptions import ReproductionError

    with tempfile.TemporaryDirectory() as temporary:
        failure, curve = Path(temporary) / "failure.json", Path(temporary) / "curve.jsonl"
        environment = {
            "AUGREC_CURVE": str(curve),
            "AUGREC_FAILURE": str(failure),
            "PYTHONPATH": str(workspace / "src"),  # the code of the run's commit, not the installed
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
            "AUGREC_STARTER": str(os.getpid()),
        }
        forwarding = tail_curve(curve, curve_sink) if curve_sink else nullcontext()
        _quieten_dvc()
        with _environment(environment), _dvc_messages() as messages, forwarding:
            try:
                when_unlocked(
                    workspace,
                    lambda repo: repo.reproduce(targets=[name], single_item=True, force=force),
                )
            except ReproductionError as error:
                raise _explain(name, failure, error) from error
    return "ran" if any(message.startswith("Running stage") for message in messages) else "restored"


def snapshot(workspace: Path, folder: str) -> None:
    """Track a folder with DVC (`dvc add`)."""
    when_unlocked(workspace, lambda repo: repo.add(folder))


def unfinished(workspace: Path) -> list[str]:
    """Stages whose outputs are not up to date; empty after a complete run."""
    return sorted(name for name in when_unlocked(workspace, lambda repo: repo.status()))


def checkout(workspace: Path) -> None:
    """Check out every output that is recorded in dvc.lock and sound in the cache.

    Call it before data/raw exists: its pointer is in a folder that git ignores, where DVC does not
    look for pointers, so DVC would remove data/raw as an unknown folder.
    """

    def action(repo: Repo) -> None:
        for out in repo.index.outs:
            out.changed_cache()  # sets damaged objects aside, which DVC's checkout would not notice
        repo.checkout(force=True, allow_missing=True)

    when_unlocked(workspace, action)


def push(workspace: Path, inputs: list[str]) -> int:
    """Push all tracked data and the run cache to the DVC remote; returns the number of files that
    were new there.

    Args:
        workspace: the folder with dvc.yaml.
        inputs: pointers to the inputs of the run. They are in folders that git ignores, where DVC
            does not look for pointers.
    """

    def action(repo: Repo) -> int:
        repo.stage_cache.push(None)  # returns the number of files checked, not of new ones
        return int(repo.push()) + (int(repo.push(targets=inputs)) if inputs else 0)

    return int(when_unlocked(workspace, action))


def pull(workspace: Path, targets: list[str]) -> None:
    """Fetch targets from the cache or the DVC remote into the workspace.

    Raises:
        PermanentError: neither has a sound copy.
    """
    from dvc.exceptions import CheckoutError

    def action(repo: Repo) -> None:
        try:
            repo.pull(targets=targets)
        except CheckoutError as error:
            raise PermanentError(
                f"{', '.join(error.target_infos)}: missing or damaged in the DVC cache and in the "
                "remote",
                where=str(workspace),
                fix="restore the remote from a backup, or `dvc push` from a machine that has them",
            ) from error

    when_unlocked(workspace, action)


def when_unlocked(workspace: Path, action: Any) -> Any:
    """Call `action(repo)`; wait while DVC's lock is held, as other stages lock the folder for short
    times."""
    from dvc.exceptions import DvcException, ReproductionError
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError

    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            with full_disk_is_transient(workspace), opened(workspace) as repo:
                return action(repo)
        except (LockError, ReproductionError, RWLockFileCorruptedError) as error:
            causes = list(_causes(error))
            if any(isinstance(one, RWLockFileCorruptedError) for one in causes):
                # left incomplete by a killed process or on a full disk
                (workspace / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
            elif not any(isinstance(one, LockError) for one in causes):
                raise
            if time.monotonic() > deadline:
                raise TransientError(
                    f"DVC stayed locked for {LOCK_WAIT_S:.0f} s: {_message(error)}",
                    where=str(workspace),
                    fix="check which process holds the lock; this will be retried",
                ) from error
            time.sleep(0.2)
        except DvcException as error:
            raise PermanentError(
                f"DVC failed: {_message(error)}",
                where=str(workspace),
                fix="run `dvc doctor` and `dvc status` there",
            ) from error


def _explain(name: str, failure: Path, error: Exception) -> Exception:
    if failure.exists():
        cause = from_json(failure.read_text(encoding="utf-8"))
        return type(cause)(f"stage {name}: {cause.what}", where=cause.where, fix=cause.fix)
    if any(isinstance(cause, ConnectionError) for cause in _causes(error)):
        return TransientError(
            f"stage {name} lost the connection to the process that watches it: {_message(error)}",
            where=name,
            fix="it is tried again",
        )
    code = getattr(error.__cause__, "exit_code", None) or _exit_code(error)
    if code is not None and (code < 0 or code > 128 or code == TRANSIENT_EXIT):
        return TransientError(
            f"stage {name} was killed (exit status {code})",
            where=name,
            fix="if it happens again, add memory or set smaller batches in params.yaml",
        )
    if code is None:  # the stage's code did not start
        return PermanentError(
            f"stage {name} could not start: {_message(error)}",
            where=f"{name} in dvc.yaml",
            fix=f"`dvc status {name}` in the workspace names what is missing; a key of params.yaml "
            "that dvc.yaml names must stand there",
        )
    return PermanentError(
        f"stage {name} failed: {_message(error)}",
        where=name,
        fix="the traceback is in this task's log, above",
    )


def _exit_code(error: BaseException) -> int | None:
    from dvc.stage.exceptions import StageCmdFailedError

    failed = next((one for one in _causes(error) if isinstance(one, StageCmdFailedError)), None)
    words = str(failed).rsplit(" ", 1) if failed else []
    return int(words[-1]) if words and words[-1].lstrip("-").isdigit() else None


def _message(error: BaseException) -> str:
    return ": ".join(dict.fromkeys(text for text in map(str, _causes(error)) if text))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, innermost last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _describe(stage: Any) -> Stage:
    return Stage(
        name=stage.addressing,
        cmd=stage.cmd,
        deps=[str(dep.def_path) for dep in stage.deps if not hasattr(dep, "params")],
        outs=[str(out.def_path) for out in stage.outs],
    )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Warnings(logging.Handler):
    """Passes on what DVC warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, "DVC: %s", record.getMessage())


def _quieten_dvc() -> None:
    """Keep DVC's warnings only: it writes each message to the terminal and to the log of whoever
    imports it, and most are advice on git, which runs follow by themselves."""
    for name in ("aiobotocore", "botocore"):  # each tells where it found its credentials
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logger = logging.getLogger(name)
        if logger.propagate:
            logger.propagate = False
            logger.handlers[:] = [_Warnings(logging.WARNING)]


@contextmanager
def _dvc_messages() -> Iterator[list[str]]:
    """Collect DVC's log messages, from which alone one can see whether a stage ran or was
    restored."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, collector = logging.getLogger("dvc"), Collector(logging.INFO)
    level = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
