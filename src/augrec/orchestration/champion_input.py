"""The champion as an input of a run whose policies continue it: chosen when the run begins, and
part of its commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from augrec.augmentation.base import Policy
from augrec.core.files import digest
from augrec.versioning import stages
from augrec.versioning.workspace import Workspace

KEY: Final = "run.champion"
FOLDER: Final = "models/champion"


def champion_override(params: Mapping[str, Any], policies: Sequence[str]) -> dict[str, Any]:
    """What the run's params.yaml says of the champion of now: version and digest; nothing where no
    policy continues it, or there is none.

    Args:
        params: the project's params.yaml.
        policies: those that take part in the run.
    """
    described = params.get("policies") or {}
    if not any(
        Policy(name, described.get(name) or [], seed=0).continues_champion for name in policies
    ):
        return {}
    from augrec.registry import models  # MLflow takes seconds to import

    champion = models.champion()
    return {KEY: {"version": champion.version, "digest": champion.digest}} if champion else {}


def export_champion(run: Workspace) -> None:
    """Put the champion that the run's params.yaml names into its workspace, under DVC's care; twice
    changes nothing.

    Raises:
        InputError: the registry has no such version.
        RefusedError: the version is not what was registered.
    """
    params = yaml.safe_load((run.path / "params.yaml").read_text(encoding="utf-8"))
    champion, folder = (params.get("run") or {}).get("champion"), run.path / FOLDER
    if champion is None:
        return
    if not folder.is_dir() or digest(folder) != champion["digest"]:
        from augrec.registry import bundle

        bundle.export(champion["version"], folder)
    stages.snapshot(run.path, FOLDER)
