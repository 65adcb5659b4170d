"""The taste groups of an earlier run as an input of a new one, whose groups keep their names.

They are those of the last published run with other raw data: on the same data a run takes the same
ones as the last run did, so that an unchanged run stays unchanged.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import yaml

from augrec.core.config import read_params, section
from augrec.core.errors import PermanentError
from augrec.core.files import write_text
from augrec.core.settings import Settings
from augrec.versioning import git, publish, stages
from augrec.versioning.workspace import Workspace, override_params

STAGE: Final = "taste_groups"
KEY: Final = "taste_groups.previous"
POINTER: Final = "models/taste_groups.dvc"
_RAW: Final = "data/raw.dvc"
_log = logging.getLogger(__name__)


def bring(settings: Settings, run: Workspace) -> None:
    """Write into the run's params.yaml which groups its own begin at, and bring these to
    models/taste_groups; idempotent.

    Call it when data/raw.dvc is there. What params.yaml names already stays.
    """
    config = section(read_params(run.path), STAGE)
    name = config.get("previous")
    if name is None and config.get("groups"):
        name = _latest(settings, run.path)
        if name is not None:
            override_params(run.path / "params.yaml", {KEY: name})
    if name is None:
        return
    pointer = run.path / POINTER
    out = {"md5": name, "hash": "md5", "path": pointer.stem}
    write_text(pointer, yaml.safe_dump({"outs": [out]}, sort_keys=False))
    try:
        stages.pull(run.path, [POINTER])
    except PermanentError as error:  # names are not worth a run
        _log.warning("groups get new names: %s", error.what)
        pointer.unlink()
        override_params(run.path / "params.yaml", {KEY: None})


def _latest(settings: Settings, folder: Path) -> str | None:
    """The hash of the groups to begin at, as DVC names them."""
    tags = publish.tags(settings)
    if not tags:
        return None

    def read(name: str) -> Any:
        return yaml.safe_load(git.git(settings.home, "show", f"{tags[-1]}:{name}")) or {}

    if read(_RAW) == yaml.safe_load((folder / _RAW).read_text(encoding="utf-8")):
        before = section(read("params.yaml"), STAGE).get("previous")
        return None if before is None else str(before)
    entry = read("dvc.lock").get("stages", {}).get(STAGE)
    return None if entry is None else str(entry["outs"][0]["md5"])
