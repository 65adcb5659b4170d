"""What a search maximises."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from augrec.core.errors import InputError
from augrec.data.ranking import RankingMetric
from augrec.evaluation.metrics import evaluate
from augrec.evaluation.user_means import user_values
from augrec.recommenders.base import Recommender


def over_users(
    cases: pl.DataFrame, metric: str, familiar: pl.Series | None = None
) -> Callable[[Recommender], float]:
    """Measures a model: the metric's mean over users, each the mean of their cases.

    Args:
        cases: validation cases.
        metric, familiar: see `augrec.data.ranking.RankingMetric`.

    Raises:
        ConfigError: there is no such metric.
        InputError: there are no cases.
    """
    ranking = RankingMetric(metric, familiar)
    cutoff = ranking.cutoff
    if cases.is_empty():
        raise InputError(
            "nobody was held out to tune by",
            where="validation cases",
            fix="set tuning.trials to 0, or hold out more users (prepare.split)",
        )

    def measure(model: Recommender) -> float:
        measured = evaluate(model, cases, [cutoff], among=ranking.among(model.items))
        return float(user_values(measured, metric)["value"].mean())  # type: ignore[arg-type]

    return measure
