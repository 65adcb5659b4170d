"""A challenger compared with the present champion on the same test cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from augrec.core.config import parse
from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.data.split import TEST
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.config import GateConfig
from augrec.evaluation.user_means import OVERALL

BETTER: Final = "better"
NOT_WORSE: Final = "not_worse"
OPEN: Final = "open"
TOO_FEW_USERS: Final = "too_few_users"


def compare(
    champion: pl.DataFrame,
    challenger: pl.DataFrame,
    gate: GateConfig | Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Decide whether a challenger is better than the champion, or at least not worse.

    Args:
        champion, challenger: rows of `augrec.evaluation.metrics.evaluate` for the same cases, in
            any order. Where there is a column `split`, its test rows are used.
        gate: metric, confidence, margin and least number of users.
        seed: of the bootstrap.

    Returns:
        {"metric", "n_users", "champion_mean", "challenger_mean", "difference", "ci_low", "ci_high",
        "non_inferior", "better", "verdict", "slices": [{"slice", "n_users", "champion_mean",
        "challenger_mean", "difference", "ci_low", "ci_high"}, …]}, over all users but for the
        slices. `better`: ci_low > 0. `non_inferior`: ci_low > -margin × champion_mean. Both are
        False with fewer than min_users. `verdict`: "better", "not_worse", "open" (neither is shown)
        or "too_few_users".

    Raises:
        InputError: the two were measured on different cases.
        ConfigError: the gate's section of params.yaml is not valid, or its metric was not measured.
    """
    gate = gate if isinstance(gate, GateConfig) else parse(GateConfig, gate, "gate")
    champion, challenger = _test_rows(champion), _test_rows(challenger)
    if not _cases(champion).equals(_cases(challenger)):
        raise InputError(
            "champion and challenger were measured on different cases",
            where="comparison of models",
            fix="evaluate both on the same data/training_set/cases_test.parquet",
        )
    overall = _row(champion, challenger, OVERALL, gate, seed)
    present = set(champion["slice"])
    decides = overall["n_users"] >= gate.min_users and overall["ci_low"] is not None
    better = decides and overall["ci_low"] > 0
    non_inferior = (
        decides and overall["ci_low"] > -gate.non_inferiority_margin * overall["champion_mean"]
    )
    found = {"metric": gate.metric} | {
        name: value for name, value in overall.items() if name != "slice"
    }
    return found | {
        "non_inferior": non_inferior,
        "better": better,
        "verdict": BETTER
        if better
        else NOT_WORSE
        if non_inferior
        else OPEN
        if decides
        else TOO_FEW_USERS,
        "slices": [
            _row(champion, challenger, name, gate, seed) for name in SLICES if name in present
        ],
    }


def _row(
    champion: pl.DataFrame, challenger: pl.DataFrame, name: str, gate: GateConfig, seed: int
) -> dict[str, Any]:
    found = paired_difference(
        challenger,
        champion,
        gate.metric,
        slice_name=name,
        confidence=gate.confidence,
        samples=gate.bootstrap_samples,
        seed=seed,
    )
    return {
        "slice": name,
        "n_users": found.n_users,
        "champion_mean": found.comparator_mean,
        "challenger_mean": found.candidate_mean,
        "difference": found.difference,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
    }


def _test_rows(measured: pl.DataFrame) -> pl.DataFrame:
    return measured.filter(pl.col("split") == TEST) if "split" in measured.columns else measured


def _cases(measured: pl.DataFrame) -> pl.DataFrame:
    return measured.select(C.USER, "slice").sort(C.USER, "slice")
