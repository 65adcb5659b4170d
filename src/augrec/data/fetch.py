"""Download MovieLens 100k with the user's own package client, for demonstrations."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from augrec.core.errors import ConfigError, InputError, TransientError
from augrec.core.files import whole_directory
from augrec.data.canonical import Tables
from augrec.data.sources import read

REQUIREMENT: Final = "recbole==1.2.1"
"""The package whose wheel holds the dataset as atomic files."""

TERMS: Final = """\
MovieLens 100k belongs to the GroupLens research group of the University of Minnesota.
Their README sets the terms; in short:
  - no commercial use and no redistribution without their permission;
  - do not suggest that they or the university endorse what you do with it;
  - cite it in publications: F. M. Harper and J. A. Konstan (2015), The MovieLens Datasets:
    History and Context, ACM Transactions on Interactive Intelligent Systems 5(4), article 19.
It comes without any warranty.
The README: https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"""

_MEMBERS: Final = tuple(
    f"recbole/dataset_example/ml-100k/ml-100k.{ending}" for ending in ("inter", "item", "user")
)


def movielens_100k(folder: Path, *, timeout_s: float = 600) -> Tables:
    """Read MovieLens 100k from `folder`; download it there first if it is missing. Callers must
    show `TERMS` to the user.

    pip downloads a wheel, which is only unzipped: none of it is installed or run. Never commit its
    contents.

    Raises:
        ConfigError: this Python has no pip.
        TransientError: pip cannot download the wheel.
        InputError: the wheel does not contain the dataset.
    """
    if not all((folder / Path(member).name).exists() for member in _MEMBERS):
        with tempfile.TemporaryDirectory() as downloads:
            unpack(_download(Path(downloads), timeout_s), folder)
    return read("movielens-100k", folder)


def unpack(wheel: Path, folder: Path) -> None:
    """Extract the dataset's files from the wheel to `folder`, all or none."""
    try:
        with zipfile.ZipFile(wheel) as archive, whole_directory(folder) as draft:
            for member in _MEMBERS:
                (draft / Path(member).name).write_bytes(archive.read(member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"the wheel does not contain MovieLens 100k: {error}",
            where=wheel.name,
            fix=f"clear pip's cache and try again; the wheel must be that of {REQUIREMENT}",
        ) from error


def _download(folder: Path, timeout_s: float) -> Path:
    if find_spec("pip") is None:
        raise ConfigError(
            "this Python has no pip, which is needed for the download",
            where=sys.executable,
            fix="run `python -m ensurepip`, then try again; or import your own copy of the dataset "
            "with `augrec data import --layout movielens-100k --folder FOLDER`",
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        REQUIREMENT,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        problem = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it wrote no wheel"]
    except subprocess.TimeoutExpired:
        problem = [f"it took longer than {timeout_s:.0f} s"]
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise TransientError(
            f"pip could not download {REQUIREMENT}: {problem[0]}",
            where="the package index that pip is configured to use",
            fix="check the network and `pip config list`, then try again",
        )
    return wheels[0]
