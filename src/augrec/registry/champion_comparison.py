"""Compares a new version with the current champion on the same test users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from augrec.core.config import read_params
from augrec.core.errors import InputError
from augrec.data.ranking import RankingMetric, familiar_items
from augrec.evaluation.compare import compare
from augrec.evaluation.metrics import evaluate
from augrec.registry import bundle, models
from augrec.registry.connection import mlflow_errors
from augrec.registry.models import Version


@mlflow_errors("compare with the champion")
def compare_with_champion(workspace: Path, version: str | int) -> dict[str, Any]:
    """Evaluate the champion on a run's test cases and compare it with the run's version.

    The champion may have any catalogue: items that it does not know count as misses, as for every
    model.

    Args:
        workspace: of the run that trained the version.
        version: its number.

    Returns:
        {"outcome": "first_champion" | "same_version" | "compared", "challenger": {"version",
        "recommender", "policy"}, "champion": the same or None, "comparison": the result of
        `augrec.evaluation.compare` or None}. `champion["version"]` is the `expected_champion` of
        `promote`.

    Raises:
        InputError: the workspace has no test cases, or no evaluation of the version.
        RefusedError: the champion's bundle differs from the registered one.
    """
    challenger, champion = models.find(version), models.champion()
    result: dict[str, Any] = {
        "outcome": "compared",
        "challenger": _summary(challenger),
        "champion": None if champion is None else _summary(champion),
        "comparison": None,
    }
    if champion is None:
        return result | {"outcome": "first_champion"}
    if champion.version == challenger.version:
        return result | {"outcome": "same_version"}
    params = read_params(workspace)
    cases = pl.read_parquet(_present(workspace / "data/training_set/cases_test.parquet"))
    recommender = bundle.load(champion.version)
    # with the protocol for new items, models are evaluated on lists of new items only
    metric = RankingMetric(familiar=familiar_items(_present(workspace / "data/prepared")))
    theirs = evaluate(
        recommender, cases, params["evaluation"]["cutoffs"], among=metric.among(recommender.items)
    )
    ours = _measured(workspace, challenger)
    shared = [name for name in ours.columns if name in theirs.columns]
    return result | {
        "comparison": compare(
            theirs.select(shared), ours.select(shared), params["gate"], params["seed"]
        )
    }


def _measured(workspace: Path, version: Version) -> pl.DataFrame:
    path = (
        workspace / "reports/evaluation" / version.recommender / version.policy / "per_user.parquet"
    )
    return pl.read_parquet(_present(path)).filter(pl.col("split") == "test").drop("split")


def _present(path: Path) -> Path:
    if not path.exists():
        raise InputError(
            "the workspace has no such results", where=str(path), fix="run its stages to the end"
        )
    return path


def _summary(version: Version) -> dict[str, str]:
    return {
        "version": version.version,
        "recommender": version.recommender,
        "policy": version.policy,
    }
