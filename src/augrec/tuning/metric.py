"""What a search maximises."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from augrec.errors import ConfigError, InputError
from augrec.evaluation.metrics import METRICS, evaluate, user_values
from augrec.recommenders.base import Recommender


def over_users(cases: pl.DataFrame, metric: str) -> Callable[[Recommender], float]:
    """Measures a model: the metric's mean over users, each the mean of their cases.

    Args:
        cases: validation cases.
        metric: such as "ndcg@10".

    Raises:
        ConfigError: there is no such metric.
        InputError: there are no cases.
    """
    name, _, cutoff = metric.partition("@")
    if name not in METRICS or not cutoff.isdecimal() or int(cutoff) < 1:
        raise ConfigError(f"there is no metric {metric!r}", where="params.yaml, tuning.metric",
                          fix=f"one of {', '.join(METRICS)} with a cutoff, such as ndcg@10")  # fmt: skip
    if cases.is_empty():
        raise InputError("nobody was held out to tune by", where="validation cases",
                         fix="set tuning.trials to 0, or hold out more users (prepare.split)")  # fmt: skip

    def measure(model: Recommender) -> float:
        measured = evaluate(model, cases, [int(cutoff)])
        return float(user_values(measured, metric)["value"].mean())  # type: ignore[arg-type]

    return measure
