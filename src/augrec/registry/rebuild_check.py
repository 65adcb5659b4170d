"""Checks whether a version rebuilt from its commit is identical to the registered one; does not
access MLflow."""

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
    """What the rebuilt version must be identical to.

    Attributes:
        commit: the commit to rebuild from.
        model, report: paths of its model and its metrics.json in a workspace.
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
    """One metric that differs; None where one side lacks it."""

    metric: str
    expected: Any
    rebuilt: Any

    @property
    def amount(self) -> float | None:
        """rebuilt - expected, if both are numbers."""
        numbers = isinstance(self.expected, int | float) and isinstance(self.rebuilt, int | float)
        return self.rebuilt - self.expected if numbers else None


@dataclass(frozen=True)
class RebuildReport:
    """Whether a rebuilt version is identical.

    Attributes:
        compared: number of metrics.
        differences: metrics that are not equal to the last bit.
        same_model: whether the model's files have the registered digest; None if only metrics were
            compared.
        data: paths whose DVC hash differs.
    """

    compared: int
    differences: list[Difference]
    same_model: bool | None
    data: list[str]

    @property
    def identical(self) -> bool:
        """Same metrics, same model, same data."""
        return not self.differences and not self.data and self.same_model is not False


def expected(version: Version, metrics: dict[str, Any]) -> Expected:
    """What a rebuilt `version` must be identical to; `metrics` are its registered ones."""
    member = f"{version.recommender}/{version.policy}"
    return Expected(
        commit=version.commit,
        model=f"models/recommenders/{member}",
        report=f"reports/evaluation/{member}/metrics.json",
        digest=version.digest,
        metrics=metrics,
        dvc=version.dvc,
    )


def compare_metrics(wanted: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> RebuildReport:
    """Compare two metrics.json number by number; equal means equal to the last bit.

    Args:
        wanted: the registered metrics.
        rebuilt: the metrics of the rebuilt version.
    """
    old, new = (
        mlflow_values.flatten(wanted, separator="/"),
        mlflow_values.flatten(rebuilt, separator="/"),
    )
    names = sorted(old.keys() | new.keys())
    # a name that one side lacks differs even if its value is null on the other
    differing = [
        name for name in names if name not in old or name not in new or old[name] != new[name]
    ]
    differences = [Difference(name, old.get(name), new.get(name)) for name in differing]
    return RebuildReport(compared=len(names), differences=differences, same_model=None, data=[])


def compare_workspace(wanted: Expected, workspace: Path) -> RebuildReport:
    """Compare metrics, the model's files and data hashes of a rebuilt workspace with the registered
    ones.

    Raises:
        InputError: the workspace is incomplete.
    """
    from augrec.registry import bundle

    report, model = workspace / wanted.report, workspace / wanted.model
    for path in (report, model):
        if not path.exists():
            raise InputError(
                "the rebuilt workspace is incomplete",
                where=str(path),
                fix="run its stages to the end",
            )
    rebuilt = read_json(report)
    numbers = compare_metrics(wanted.metrics, {name: rebuilt.get(name) for name in wanted.metrics})
    hashes = run_files.dvc_hashes(workspace)
    changed = sorted(path for path, value in wanted.dvc.items() if hashes.get(path) != value)
    return RebuildReport(
        numbers.compared, numbers.differences, bundle.digest(model) == wanted.digest, changed
    )
