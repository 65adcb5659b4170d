"""Imports before a fork: what one process loads, the tasks that are forked from it share."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

_MODULES: Final = (
    "augrec.versioning.checked_cache",
    "augrec.versioning.lock_writer",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.parsing.interpolate",
    "dvc.repo",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.stage.cache",
    "networkx",
    "pyparsing",
)
"""What DVC loads to run a stage, much of it only then; none starts a thread, which a fork would
lose."""


def preload() -> None:
    """Import what running a stage needs, in a process from which tasks are forked."""
    os.environ["DVC_NO_ANALYTICS"] = "1"
    for module in _MODULES:
        import_module(module)
