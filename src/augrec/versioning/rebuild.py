"""Rebuild a run from its commit by running every stage again, and check that the outputs are the
same, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from augrec.core.settings import Settings
from augrec.versioning import git, publish, stages, workspace


@dataclass(frozen=True)
class Rebuilt:
    """A rebuilt run.

    Attributes:
        path: the workspace, with all files of the run.
        differing: outputs whose content differs from the one recorded in the commit; empty if the
            rebuild is exact.
        outputs: the number of outputs compared.
    """

    path: Path
    differing: list[str]
    outputs: int


def rebuild(
    settings: Settings, commit: str, *, progress: Callable[[str, int, int], None]
) -> Rebuilt:
    """Check out a run's commit, fetch its inputs and run every stage again, restoring none.

    Args:
        settings: the installation.
        commit: a run's commit, as recorded with each model version.
        progress: called with (stage, number, total) before each stage.
    """
    path = workspace.checkout(settings, f"reproduce-{commit[:12]}", commit)
    recorded = _outputs(git.git(settings.home, "show", f"{commit}:dvc.lock"))
    stages.pull(path, publish.inputs(path))
    plan = stages.plan(path)
    for number, stage in enumerate(plan, start=1):
        progress(stage.name, number, len(plan))
        stages.run_stage(path, stage.name, force=True)
    rebuilt = _outputs((path / "dvc.lock").read_text(encoding="utf-8"))
    differing = sorted(
        name for name in recorded.keys() | rebuilt.keys() if recorded.get(name) != rebuilt.get(name)
    )
    return Rebuilt(path, differing, len(recorded))


def _outputs(lock: str) -> dict[str, str]:
    stages_ = yaml.safe_load(lock)["stages"]
    return {out["path"]: out["md5"] for stage in stages_.values() for out in stage.get("outs", [])}
