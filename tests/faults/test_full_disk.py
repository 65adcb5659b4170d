"""The stages of a run on a disk that is full again and again: a file system of its own, in
memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from platform_project import Project

from augrec.core.errors import TransientError
from augrec.versioning import stages

DISK_BYTES, STEP_BYTES = 256 * 2**20, 2**20
STAGES = ("configure", "validate", "prepare", "features")
"""Enough to meet the full disk in DVC, in polars and in Python, and quick."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave(disk: Path, free: int) -> None:
    """Fill the disk with a file until `free` bytes are left."""
    ballast, found = disk / "ballast", os.statvfs(disk)
    size = ballast.stat().st_size if ballast.exists() else 0
    size = max(0, size + found.f_bavail * found.f_bsize - free)
    with ballast.open("ab") as file:
        file.truncate(size)
        os.posix_fallocate(file.fileno(), 0, size)


def test_stages_on_a_full_disk_say_so_and_go_on_once_there_is_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(disk / "shop")
    for name, value in project.variables.items():
        monkeypatch.setenv(name, value)
    project.augrec("data", "simulate", "--users", "400", "--items", "80", "--interactions", "8000")
    project.commit({"run.policies": ["none"], "run.recommenders": ["popularity"]})
    stages.snapshot(project.home, "data/raw")
    refused = []
    for name in STAGES:
        free = 0
        while True:
            leave(disk, free)
            try:
                stages.run_stage(project.home, name)
                break
            except TransientError as error:
                refused.append(name)
                assert "disk is full" in f"{error}", error
                free = max(STEP_BYTES, 4 * free)
    assert set(refused) == set(STAGES)
    leave(disk, 20 * STEP_BYTES)
    assert not set(STAGES) & set(stages.unfinished(project.home))
