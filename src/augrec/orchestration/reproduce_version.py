"""`augrec reproduce`: rebuild a version from its commit and compare it with the registered one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from augrec.core.settings import Settings
from augrec.registry import models, rebuild_check
from augrec.versioning import rebuild, workspace


@dataclass(frozen=True)
class Reproduction:
    """The result: a `sentence` that summarises it, and one line for each of the `differences`."""

    identical: bool
    sentence: str
    differences: list[str]


def reproduce_version(
    settings: Settings, version: str | int, progress: Callable[[str, int, int], None]
) -> Reproduction:
    """Rebuild a version; the workspace is kept if anything differs, so that it can be inspected."""
    registered = models.find(version)
    wanted = rebuild_check.expected(registered, models.metrics(registered))
    built = rebuild.rebuild(settings, wanted.commit, progress=progress)
    report = rebuild_check.compare_workspace(wanted, built.path)
    differences = [
        f"{one.metric}: registered {one.expected}, rebuilt {one.rebuilt}"
        for one in report.differences
    ]
    differences += [
        f"{path}: not the same bytes" for path in sorted({*built.differing, *report.data})
    ]
    if report.identical and not built.differing:
        workspace.remove(settings, built.path)
        counted = f"{report.compared} metrics, the model and all {built.outputs} outputs"
        return Reproduction(
            True, f"Version {version} is identical: {counted} are the same, byte for byte.", []
        )
    sentence = f"Version {version} is not identical; the rebuilt files are in {built.path}."
    return Reproduction(False, sentence, differences)
