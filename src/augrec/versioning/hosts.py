"""A run on several hosts that share no disk.

The start of a run is a commit, which the host of its first task pushes to the git remote: the run's
code and parameters, the pointers to its inputs, and the dvc.lock with what need not run again.
Every other host begins from that commit. Data takes the way of `augrec.versioning.exchange`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import augrec
from augrec.core.errors import PermanentError, TransientError
from augrec.core.files import digest
from augrec.core.locking import locked
from augrec.core.settings import Settings
from augrec.versioning import exchange, git, prune, publish, workspace
from augrec.versioning.workspace import Workspace

REFS: Final = "refs/augrec/runs/"
"""Where the commits at which runs begin are kept, in the git remote and in every host's clone."""
KEPT: Final = 10
"""How many workspaces of published runs a host keeps."""
CODE: Final = ("core", "orchestration", "registry", "versioning")
"""The rooms whose code runs tasks; that of a stage is the run's own."""


def offer(settings: Settings, run: Workspace) -> None:
    """Let other hosts take part in a run: push its start, and the data that its first stages read;
    idempotent. Does nothing where one host runs everything.

    Raises:
        TransientError: a remote could not be reached.
    """
    if settings.git_remote is None:
        return
    exchange.push(run.path, exchange.recorded(run.path), publish.inputs(run.path))
    records = [name for name in git.RECORDS if (run.path / name).exists()]
    git.git(run.path, "add", "--all")
    git.git(run.path, "add", "--force", "--", "params.yaml", *records)
    fields = {**asdict(run), "path": "", "code": code()}
    commit = git.git(
        run.path,
        *git.identity(run.path),
        "commit-tree",
        git.git(run.path, "write-tree"),
        "-p",
        run.commit,
        stdin=f"The start of run {run.run_id}\n\n{json.dumps(fields)}\n".encode(),
    )
    _remotely(settings, "push", "--force", settings.git_remote, f"{commit}:{_ref(run.run_id)}")
    git.git(settings.home, "update-ref", _ref(run.run_id), commit)


def join(settings: Settings, run_id: str) -> Workspace:
    """The workspace of a run; made here, if this is the run's first task on this host.

    Raises:
        InputError: the run has no workspace, and no other host has offered it.
        TransientError: the git remote could not be reached, or this host has other code than the
            one on which the run began.
    """
    if settings.git_remote is None:
        return workspace.open_(settings, run_id)
    with locked(settings.var / "locks" / "join"):
        if not workspace.exists(settings, run_id):
            return _make(settings, settings.git_remote, run_id)
    run = workspace.open_(settings, run_id)
    if git.git(settings.home, "rev-parse", "--verify", "--quiet", _ref(run_id), check=False):
        _check_code(_start(settings, run_id))
    return run


def release(settings: Settings, tag: str) -> None:
    """Push the tag of a published run to the git remote, where there is one."""
    if settings.git_remote is not None:
        _remotely(settings, "push", "--force", settings.git_remote, f"refs/tags/{tag}")


def code() -> str:
    """Identifies the code that runs tasks here."""
    package = Path(augrec.__file__).parent
    return "-".join(digest(package / room, "*.py")[:12] for room in CODE)


def _make(settings: Settings, remote: str, run_id: str) -> Workspace:
    ref = _ref(run_id)
    _remotely(settings, "fetch", "--quiet", remote, f"+{ref}:{ref}")
    start = _start(settings, run_id)
    _check_code(start)
    _remotely(settings, "fetch", "--quiet", "--tags", remote)
    prune.prune(settings, keep=KEPT)
    path = workspace.checkout(settings, workspace.folder_name(run_id), ref)
    # as where it began: what the run changed is uncommitted
    git.git(path, "reset", "--quiet", "--soft", start["commit"])
    fields = {name: value for name, value in start.items() if name != "code"}
    run = Workspace(**{**fields, "path": path})
    workspace.record(run)
    return run


def _start(settings: Settings, run_id: str) -> dict[str, Any]:
    message = git.git(settings.home, "show", "--no-patch", "--format=%b", _ref(run_id))
    return dict(json.loads(message))


def _check_code(start: dict[str, Any]) -> None:
    if start["code"] != code():
        raise TransientError(
            "this host's augrec is another than the one with which the run began",
            where=str(Path(augrec.__file__).parent),
            fix=f"bring this host to commit {start['commit'][:12]} and start its worker again; the "
            "task is tried again, perhaps by another host",
        )


def _remotely(settings: Settings, *words: str) -> None:
    try:
        git.git(settings.home, *words)
    except PermanentError as error:
        raise TransientError(
            error.what,
            where=f"{settings.git_remote} of {settings.home}",
            fix="it is tried again; AUGREC_GIT_REMOTE names the remote",
        ) from error


def _ref(run_id: str) -> str:
    return f"{REFS}{workspace.folder_name(run_id)}"
