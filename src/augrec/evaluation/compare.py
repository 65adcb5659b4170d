"""A challenger compared with the present champion on the same test cases.

The champion stays unless test users rule out a loss beyond the margin. Two things are said besides:

* **Whether a group of users loses**, by the rule of the gate (`augrec.evaluation.harm`): cold users
  from .30 to .10 and all others from .20 to .30 is better on average, and a person should decide
  whether it is wanted.
* **What is known where nothing is shown.** With few users a challenger that is likely better cannot
  be told from one that is not. The chance that it is better is stated, and the number of users that
  a test of the two beside each other would need.

Both are of the two models at hand, so chance in training has no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from scipy import stats

from augrec.core.config import parse
from augrec.core.errors import InputError
from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES
from augrec.data.split import TEST
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.config import GateConfig
from augrec.evaluation.harm import LOST, judge_groups
from augrec.evaluation.paired import Paired
from augrec.evaluation.user_means import OVERALL

FIRST: Final = "first_champion"
SAME: Final = "same_version"
COMPARED: Final = "compared"

BETTER: Final = "better"
NOT_WORSE: Final = "not_worse"
OPEN: Final = "open"
TOO_FEW_USERS: Final = "too_few_users"
_CHAMPION, _CHALLENGER = "champion", "challenger"


def compare(
    champion: pl.DataFrame,
    challenger: pl.DataFrame,
    gate: GateConfig | Mapping[str, Any],
    seed: int,
    groups: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Decide whether a challenger is better than the champion, or at least not worse.

    Args:
        champion, challenger: rows of `augrec.evaluation.metrics.evaluate` for the same cases, in
            any order. Where there is a column `split`, its test rows are used.
        gate: metric, confidence, margin and least number of users.
        seed: of the bootstrap.
        groups: of test users, see `augrec.evaluation.user_means.groups_of_users`; None: there are
            no attributes of users.

    Returns:
        {"metric", "margin", "n_users", "champion_mean", "challenger_mean", "difference", "ci_low",
        "ci_high", "non_inferior", "better", "verdict", "lost": rows of
        `augrec.evaluation.harm.judge_groups`, "chance", "needed", "slices": [{"slice", "n_users",
        "champion_mean", "challenger_mean", "difference", "ci_low", "ci_high"}, …]}, over all users
        but for lost and slices. `better`: ci_low > 0. `non_inferior`: ci_low > -margin ×
        champion_mean. Both are False with fewer than min_users. `verdict`: "better", "not_worse",
        "open" (neither is shown) or "too_few_users". `lost`: the groups of users shown to lose more
        than the margin. `chance`: that the challenger is better, None where the verdict is
        "too_few_users". `needed`: where it is likely better but nothing is shown, {"shadow",
        "split"}: the number of users of whom both answers, or one of the two, would show a
        difference of this size; else None.

    Raises:
        InputError: the two were measured on different cases, or a value is not finite.
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
    verdict = (
        (BETTER if better else NOT_WORSE if non_inferior else OPEN) if decides else TOO_FEW_USERS
    )
    paired = Paired({_CHAMPION: [champion], _CHALLENGER: [challenger]})
    chance, needed = _power(paired, gate) if decides else (None, None)
    judged = judge_groups(paired, _CHALLENGER, _CHAMPION, gate, seed, groups) if decides else []
    return {
        "metric": gate.metric,
        "margin": gate.non_inferiority_margin,
        **{name: value for name, value in overall.items() if name != "slice"},
        "non_inferior": non_inferior,
        "better": better,
        "verdict": verdict,
        "lost": [row for row in judged if row["verdict"] == LOST],
        "chance": chance,
        "needed": needed if verdict == OPEN else None,
        "slices": [
            _row(champion, challenger, name, gate, seed) for name in SLICES if name in present
        ],
    }


def judge(outcome: str, found: Mapping[str, Any] | None) -> tuple[bool, bool]:
    """Whether a version may become the champion, and whether a person has to agree.

    Test users must rule out a loss beyond the margin against the champion; where they show one for
    a group of users, a person decides. A first version, compared with popularity, must not be below
    it: to ask of it what is asked of a challenger would, with few users, leave everybody with
    popularity.

    Args:
        outcome: "first_champion", "same_version" or "compared".
        found: what `compare` found; None: there was nothing to compare.
    """
    if outcome == FIRST:
        if found is None or found["difference"] is None:
            return True, False
        return found["difference"] >= -found["margin"] * found["champion_mean"], False
    if outcome == SAME or found is None:
        return False, False
    return bool(found["non_inferior"]), bool(found["non_inferior"] and found["lost"])


def _power(paired: Paired, gate: GateConfig) -> tuple[float, dict[str, int] | None]:
    """The chance that the challenger is better, by Student's t; and how many users would show a
    difference of this size with the chance `gate.power`, by the normal approximation."""
    ours, theirs = (paired.values(name, gate.metric).mean for name in (_CHALLENGER, _CHAMPION))
    gains = ours - theirs
    difference, variance = float(gains.mean()), float(gains.var(ddof=1))
    if variance == 0:
        return 0.5 + 0.5 * float(np.sign(difference)), None
    chance = float(stats.t.cdf(difference / math.sqrt(variance / len(gains)), len(gains) - 1))
    if difference <= 0:
        return chance, None
    reach = stats.norm.ppf((1 + gate.confidence) / 2) + stats.norm.ppf(gate.power)
    scale = float((reach / difference) ** 2)
    apart = float(ours.var(ddof=1) + theirs.var(ddof=1))
    return chance, {
        "shadow": math.ceil(scale * variance),
        "split": 2 * math.ceil(scale * apart),
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
