"""What a version must give when it is rebuilt from its commit, and whether it did. Nothing here
touches MLflow's store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augrec.core.errors import InputError
from augrec.core.files import read_json
from augrec.registry import mlflow_values, run_files

if TYPE_CHECKING:
    from augrec.registry.models import Version


@dataclass(frozen=True)
class Expected:
    """What a version was registered with.

    Attributes:
        commit: to rebuild from.
        model, report: where its model and its metrics lie in a workspace.
        digest: of the model's files.
        metrics: {"valid": …, "test": …} as in metrics.json.
        dvc: {path: DVC hash}.
    """

    commit: str
    model: str
    report: str
    digest: str
    metrics: dict[str, Any]
    dvc: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """One number that came out differently; None where one side does not have it."""

    metric: str
    expected: Any
    rebuilt: Any

    @property
    def amount(self) -> float | None:
        """rebuilt - expected, where both are numbers."""
        numbers = isinstance(self.expected, int | float) and isinstance(self.rebuilt, int | float)
        return self.rebuilt - self.expected if numbers else None


@dataclass(frozen=True)
class Report:
    """Whether a rebuilt version is the same.

    Attributes:
        compared: how many metrics.
        differences: those that are not equal to the last bit.
        same_model: whether the model's files have the registered digest; None where only metrics
            were compared.
        data: paths whose DVC hash is another.
    """

    compared: int
    differences: list[Difference]
    same_model: bool | None
    data: list[str]

    @property
    def identical(self) -> bool:
        """Same metrics, same model, same data."""
        return not self.differences and not self.data and self.same_model is not False


def expected(version: Version) -> Expected:
    """What rebuilding `version` must give."""
    member = f"{version.recommender}/{version.policy}"
    return Expected(
        commit=version.commit,
        model=f"models/recommenders/{member}",
        report=f"reports/evaluation/{member}/metrics.json",
        digest=version.digest,
        metrics=version.metrics,
        dvc=version.dvc,
    )


def compare_metrics(wanted: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> Report:
    """Compare two metrics.json number by number; equal means equal to the last bit.

    Args:
        wanted: what was registered.
        rebuilt: what came out now.
    """
    old, new = (
        mlflow_values.flatten(wanted, separator="/"),
        mlflow_values.flatten(rebuilt, separator="/"),
    )
    names = sorted(old.keys() | new.keys())
    # names one side lacks differ even where the other holds null
    differing = [
        name for name in names if name not in old or name not in new or old[name] != new[name]
    ]
    differences = [Difference(name, old.get(name), new.get(name)) for name in differing]
    return Report(compared=len(names), differences=differences, same_model=None, data=[])


def compare_workspace(wanted: Expected, workspace: Path) -> Report:
    """Compare a rebuilt workspace with what was registered: metrics, the model's files, hashes of
    the data.

    Raises:
        InputError: the workspace is not complete.
    """
    from augrec.registry import bundle

    report, model = workspace / wanted.report, workspace / wanted.model
    for path in (report, model):
        if not path.exists():
            raise InputError(
                "the rebuilt workspace is not complete",
                where=str(path),
                fix="run its stages to the end",
            )
    rebuilt = read_json(report)
    numbers = compare_metrics(wanted.metrics, {name: rebuilt.get(name) for name in wanted.metrics})
    hashes = run_files.dvc_hashes(workspace)
    changed = sorted(path for path, value in wanted.dvc.items() if hashes.get(path) != value)
    return Report(
        numbers.compared, numbers.differences, bundle.digest(model) == wanted.digest, changed
    )
