"""The champion as an input of a run whose policies continue its training: chosen when the run
begins, and part of the run's commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from augrec.augmentation.base import Policy
from augrec.core.config import read_params, section
from augrec.core.files import digest
from augrec.core.policies import steps_of
from augrec.versioning import stages
from augrec.versioning.workspace import Workspace

KEY: Final = "run.champion"
FOLDER: Final = "models/champion"


def champion_override(params: Mapping[str, Any], policies: Sequence[str]) -> dict[str, Any]:
    """The current champion's version and digest as an override of params.yaml; empty if no policy
    continues the champion, or there is none.

    Args:
        params: the project's params.yaml.
        policies: the policies of the run.
    """
    described = section(params, "policies")
    if not any(
        Policy(name, steps_of(described.get(name)), seed=0).continues_champion for name in policies
    ):
        return {}
    from augrec.registry import models  # MLflow takes seconds to import

    champion = models.champion()
    return {KEY: {"version": champion.version, "digest": champion.digest}} if champion else {}


def export_champion(run: Workspace) -> None:
    """Export the champion that the run's params.yaml names into its workspace and track it with
    DVC; idempotent.

    Raises:
        InputError: the registry has no such version.
        RefusedError: the version's files are not those that were registered.
    """
    champion, folder = section(read_params(run.path), "run.champion"), run.path / FOLDER
    if not champion:
        return
    if not folder.is_dir() or digest(folder) != champion["digest"]:
        from augrec.registry import bundle

        bundle.export(champion["version"], folder)
    stages.snapshot(run.path, FOLDER)
