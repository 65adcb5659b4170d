"""The utility of the sample alone: train on synthetic, test on real."""

from __future__ import annotations

from typing import Any

import polars as pl

from augrec.audit.config import UtilityConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.nearest import some_rows
from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import summarise
from augrec.recommenders.base import Recommender, find

_POPULARITY = "popularity"
_NAMES = (
    "tstr",
    "trtr",
    _POPULARITY,
    "tstr_ratio",
    "tstr_difference",
    "tstr_difference_low",
    "tstr_difference_high",
)


def utility(
    sample: pl.DataFrame,
    inputs: AuditInputs,
    config: UtilityConfig,
    knobs: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Train on synthetic, test on real, against train on real (Esteban et al. 2017, arXiv
    1706.02633).

    Tested on validation users: test users are for the gate alone. tstr and trtr: the metric after
    training on synthetic and on real users, means over users; tstr_difference: tstr - trtr with its
    paired bootstrap interval over users; tstr_ratio: tstr / trtr; popularity: the metric of a list
    by popularity, a lower bound without any personalisation. slices: the same by activity. All None
    without validation cases.

    Args:
        sample: canonical synthetic interactions.
        inputs: training rows, items and cases.
        config: which recommender, the number of users.
        knobs: confidence and samples of the interval.
        seed: of the subsamples, the recommender and the bootstrap.
    """
    cases = inputs.cases
    if cases is None or cases.is_empty():
        return dict.fromkeys(_NAMES)
    cases = cases[some_rows(len(cases), config.max_cases, rng(seed, "cases"))]
    n = min(config.max_users, *(table[C.USER].n_unique() for table in (sample, inputs.training)))
    real, synthetic = (_some_users(table, n, seed) for table in (inputs.training, sample))
    kind, options = _chosen(config, inputs.training[C.ITEM].n_unique())
    made = {
        "trtr": kind(options, seed=derive(seed, "recommender")),
        "tstr": kind(options, seed=derive(seed, "recommender")),
        _POPULARITY: find(_POPULARITY)({}, seed=0),
    }
    cutoff = [int(config.metric.partition("@")[2])]
    measured = {
        name: evaluate(
            model.fit(
                TrainingData(synthetic if name == "tstr" else real, items=inputs.items, cases=cases)
            ),
            cases,
            cutoff,
        )
        for name, model in made.items()
    }
    paired = paired_difference(
        measured["tstr"], measured["trtr"], config.metric, seed=derive(seed, "paired"), **knobs
    )
    means = {name: summarise(table) for name, table in measured.items()}
    return {
        "recommender": kind.name(),
        "metric": config.metric,
        "n_users": paired.n_users,
        "n_trained_on": n,
        **_with_ratio({name: found["overall"][config.metric] for name, found in means.items()}),
        "tstr_difference": paired.difference,
        "tstr_difference_low": paired.ci_low,
        "tstr_difference_high": paired.ci_high,
        "slices": {
            group: {"n_users": part["n_users"]}
            | _with_ratio(
                {name: found["slices"][group][config.metric] for name, found in means.items()}
            )
            for group, part in means["trtr"]["slices"].items()
        },
    }


def _with_ratio(means: dict[str, float]) -> dict[str, float | None]:
    return {**means, "tstr_ratio": means["tstr"] / means["trtr"] if means["trtr"] else None}


def _chosen(config: UtilityConfig, n_items: int) -> tuple[type[Recommender], dict[str, Any]]:
    if n_items > config.large_catalogue:
        return find(config.large_recommender), {}
    return find(config.recommender), config.options


def _some_users(table: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    users = table[C.USER].unique().sort()
    return table.filter(
        pl.col(C.USER).is_in(users[some_rows(len(users), n, rng(seed, "users"))].implode())
    )
