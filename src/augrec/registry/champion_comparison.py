"""Compares a new version with the current champion on the same test users; the first one with
popularity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import polars as pl

from augrec.core.config import read_params
from augrec.core.errors import InputError
from augrec.core.files import digest, read_json
from augrec.data.ranking import RankingMetric, familiar_items
from augrec.data.training_data import TrainingData
from augrec.evaluation.compare import COMPARED, FIRST, SAME, compare, judge
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import groups_of_users
from augrec.recommenders.base import Recommender, find, load
from augrec.registry import bundle, models, promotion
from augrec.registry.connection import mlflow_errors
from augrec.registry.models import Version

BASELINE: Final = "popularity"
"""What a first model is compared with: the recommender that gives everybody the same list."""


@mlflow_errors("compare with the champion")
def compare_with_champion(workspace: Path, version: str | int) -> dict[str, Any]:
    """Evaluate the champion, or popularity where there is none, on a run's test cases and compare
    it with the run's version.

    Of the champion it is the measured model, which has not seen what test users do. It may have any
    catalogue: items that it does not know count as misses, as for every
    model.

    Args:
        workspace: of the run that trained the version.
        version: its number.

    Returns:
        {"outcome": "first_champion" | "same_version" | "compared", "challenger": {"version",
        "recommender", "policy"}, "champion": the same or None, "lost_champion": the number of a
        champion whose version was deleted, in place of which the one before it is compared, or
        None, "comparison": the result of `augrec.evaluation.compare`; None where there is nothing
        to compare: the same version, or a first one that is popularity itself, "promotable",
        "ask": see `augrec.evaluation.compare.judge`}. `champion["version"]` is the
        `expected_champion` of `promote`.

    Raises:
        InputError: the workspace has no test cases, or no evaluation of the version on them.
        RefusedError: the champion's bundle differs from the registered one.
    """
    challenger = models.find(version)
    champion, lost = promotion.standing()
    outcome, found = COMPARED, None
    if champion is None:
        outcome = FIRST
        if challenger.recommender != BASELINE:
            found = _compared(workspace, _baseline(workspace), challenger)
    elif champion.version == challenger.version and lost is None:
        outcome = SAME
    else:
        found = _compared(workspace, bundle.load_measured(champion.version), challenger)
    promotable, ask = judge(outcome, found)
    return {
        "outcome": outcome,
        "challenger": _summary(challenger),
        "champion": None if champion is None else _summary(champion),
        "lost_champion": lost,
        "comparison": found,
        "promotable": promotable,
        "ask": ask,
    }


def _compared(workspace: Path, other: Recommender, challenger: Version) -> dict[str, Any]:
    params = read_params(workspace)
    folder, name = workspace / "data/training_set", "cases_test.parquet"
    cases = pl.read_parquet(_present(folder / name))
    # with the protocol for new items, models are evaluated on lists of new items only
    metric = RankingMetric(familiar=familiar_items(_present(workspace / "data/prepared")))
    theirs = evaluate(
        other, cases, params["evaluation"]["cutoffs"], among=metric.among(other.items)
    )
    ours = _measured(workspace, challenger, digest(folder, name))
    shared = [name for name in ours.columns if name in theirs.columns]
    return compare(
        theirs.select(shared),
        ours.select(shared),
        params["gate"],
        params["seed"],
        groups_of_users(cases, max_groups=params["evaluation"].get("max_groups", 25)),
    )


def _baseline(workspace: Path) -> Recommender:
    """Popularity on the run's training data: the run's own model, or one that is fitted now."""
    path = workspace / "models/recommenders" / BASELINE / "none"
    if path.is_dir():
        return load(path)
    rows = pl.read_parquet(_present(workspace / "data/prepared/train.parquet"))
    return find(BASELINE)().fit(TrainingData(rows))


def _measured(workspace: Path, version: Version, cases: str) -> pl.DataFrame:
    """The version's test rows, measured on the cases with this digest: users, moments, histories
    and targets are the same."""
    folder = workspace / "reports/evaluation" / version.recommender / version.policy
    measured_on = read_json(_present(folder / "metrics.json"))["test"].get("cases")
    if measured_on not in (None, cases):
        raise InputError(
            f"version {version.version} was measured on other test cases than those of the run",
            where=str(folder),
            fix="run the evaluate stage again, so that champion and challenger face the same users "
            "at the same moments",
        )
    table = pl.read_parquet(_present(folder / "per_user.parquet"))
    return table.filter(pl.col("split") == "test").drop("split")


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
