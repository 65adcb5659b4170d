"""The git commands that augrec needs, through the git program itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from augrec.core.errors import PermanentError

# Written by `dvc repro` in the main tree: records of outputs, not inputs, so they do not count as
# uncommitted changes.
RECORDS = ("dvc.lock", "data/raw.dvc", "models/champion.dvc", "models/taste_groups.dvc")


def git(folder: Path, *words: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Run `git words…` in `folder` and return its output without the final newline.

    Raises:
        PermanentError: git is missing or failed; contains git's own message.
    """
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, input=stdin, capture_output=True, env=environment
        )
    except FileNotFoundError as error:
        raise PermanentError(
            "git is not installed", where=str(folder), fix="install git; a run is a git worktree"
        ) from error
    if check and done.returncode:
        raise PermanentError(
            f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}",
            where=str(folder),
            fix="run the same git command there for details",
        )
    return done.stdout.decode(errors="replace").rstrip("\n")


def head(folder: Path) -> str:
    """The commit that is checked out in a folder.

    Raises:
        PermanentError: the folder is not a git repository with a commit.
    """
    commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    if not commit:
        raise PermanentError(
            "this project has no git commit yet",
            where=str(folder),
            fix="git init && git add . && git commit: every run is recorded against a commit",
        )
    return commit


def changes(folder: Path) -> list[str]:
    """Paths with uncommitted changes, including untracked files, without `RECORDS`."""
    listing = git(folder, "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z")
    paths = [entry[3:] for entry in listing.split("\0") if entry]
    return [path for path in paths if path not in RECORDS]


def commit(folder: Path, paths: list[str], message: str) -> str:
    """Commit exactly `paths`, also ignored ones; returns the new commit, or HEAD if nothing
    changed."""
    git(folder, "add", "--force", "--", *paths)
    if git(folder, "status", "--porcelain", "--untracked-files=no", "--", *paths):
        git(
            folder,
            *identity(folder),
            "commit",
            "--quiet",
            "--no-verify",
            "-m",
            message,
            "--",
            *paths,
        )
    return head(folder)


def identity(folder: Path) -> list[str]:
    """Options of git that name who commits, where nobody is configured."""
    if git(folder, "config", "user.email", check=False):
        return []
    return ["-c", "user.name=augrec", "-c", "user.email=augrec@localhost"]
