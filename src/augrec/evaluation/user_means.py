"""Means over users of each case's metrics: overall, by activity, by group of users, by time.

A user counts once: every mean is over users, of each user's mean over cases. A case without a value
(without a target of that kind, or a history to compare with) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from augrec.core.errors import ConfigError, InputError
from augrec.data.cases import user_features_of
from augrec.data.columns import Columns as C
from augrec.data.slices import SLICES

OVERALL: Final = "overall"
UNKNOWN: Final = "unknown"
BROKEN_DOWN: Final = ("ndcg", "recall")
"""The metrics of each group and period; all others are in the table of cases."""
_MAX_PERIODS: Final = 12
_PERIODS: Final = (
    ("1d", "%Y-%m-%d"),
    ("1w", "%Y-%m-%d"),
    ("1mo", "%Y-%m"),
    ("1q", "%Y-%m"),
    ("1y", "%Y"),
)


def summarise(measured: pl.DataFrame) -> dict[str, Any]:
    """The means of a table of cases: {"overall": {"n_users", metric…}, "slices": {slice:
    {"n_users", metric…}}}.

    None where no user has a value.
    """
    present = set(measured["slice"])
    names = metrics_of(measured)
    return {
        OVERALL: _means(measured, names),
        "slices": {
            name: _means(measured.filter(pl.col("slice") == name), names)
            for name in SLICES
            if name in present
        },
    }


def user_values(measured: pl.DataFrame, metric: str, slice_name: str = OVERALL) -> pl.DataFrame:
    """Each user's mean of a metric over their cases: user_id, value; sorted by user; users without
    a value left out.

    Args:
        measured: rows of `augrec.evaluation.metrics.evaluate`.
        metric: a column of it.
        slice_name: one slice, or "overall" (or "all") for every case.

    Raises:
        ConfigError: the metric was not measured.
        InputError: a value of it is infinite or not a number.
    """
    if metric not in measured.columns:
        raise ConfigError(
            f"the metric {metric!r} was not measured",
            where="params.yaml, gate.metric",
            fix=f"use one of {', '.join(metrics_of(measured))}, or add to evaluation.cutoffs",
        )
    if measured[metric].dtype.is_float() and not measured[metric].drop_nulls().is_finite().all():
        raise InputError(
            f"{metric} of a case is infinite or not a number",
            where="reports/evaluation",
            fix="run the evaluate stage again; if it stays, the model's scores are not finite",
        )
    if slice_name not in (OVERALL, "all"):
        measured = measured.filter(pl.col("slice") == slice_name)
    users, means = _user_means(measured, [metric])
    valued = ~np.isnan(means[:, 0])
    return pl.DataFrame(
        {C.USER: users[valued].tolist(), "value": means[valued, 0]},
        schema={C.USER: pl.String, "value": pl.Float64},
    )


def by_group(
    measured: pl.DataFrame, cases: pl.DataFrame, *, max_groups: int = 25, min_users: int = 20
) -> dict[str, Any]:
    """The metrics of each group of users, for each attribute in cases.

    Args:
        measured: rows of `augrec.evaluation.metrics.evaluate` for `cases`, in their order.
        cases: with attributes of the users in addition to the columns of `CASES`; Feast's features,
            user__…, are ignored.
        max_groups: a text attribute with more distinct values is ignored; a numeric one is cut into
            thirds of users.
        min_users: smaller groups are shown, but make no gap.

    Returns:
        {attribute: {"groups": {value: {"n_users", metric…}}, "gap": {metric: best minus worst
        group}, "worst": {metric: value}}}; gap and worst are None with fewer than two groups that
        are large enough.
    """
    found: dict[str, Any] = {}
    for name, groups in _labels(cases, max_groups).items():
        parts = _parts(measured, groups)
        found[name] = {"groups": parts, **_gaps(parts, min_users)}
    return found


def groups_of_users(cases: pl.DataFrame, *, max_groups: int = 25) -> pl.DataFrame:
    """The groups of `by_group`: user_id, and a String column for each attribute that makes groups;
    one row a user, sorted."""
    labelled = cases.select(
        C.USER, *(label.alias(name) for name, label in _labels(cases, max_groups).items())
    )
    return labelled.unique(C.USER, keep="last", maintain_order=True).sort(C.USER)


def _labels(cases: pl.DataFrame, max_groups: int) -> dict[str, pl.Series]:
    user_features = user_features_of(cases)
    if user_features is None:
        return {}
    attributes = [name for name in user_features.columns if not name.startswith("user__")]
    found = {name: _groups(user_features[name], max_groups) for name in attributes}
    return {name: groups for name, groups in found.items() if groups is not None}


def by_time(measured: pl.DataFrame, cases: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """{period: {"n_users", metric…}} by the time of cases: days, weeks (their Mondays), months,
    quarters or years (their first months), whichever is the finest that gives at most twelve."""
    if cases.is_empty() or "moment" not in cases.columns:
        return {}
    labels = (cases["moment"].dt.truncate(length).dt.strftime(form) for length, form in _PERIODS)
    return _parts(
        measured,
        next(
            (made for made in labels if made.n_unique() <= _MAX_PERIODS),
            cases["moment"].dt.strftime("%Y"),
        ),
    )


def metrics_of(measured: pl.DataFrame) -> list[str]:
    """The names of a table's metrics."""
    return [name for name in measured.columns if "@" in name]


def _parts(measured: pl.DataFrame, labels: pl.Series) -> dict[str, dict[str, Any]]:
    names = [name for name in metrics_of(measured) if name.partition("@")[0] in BROKEN_DOWN]
    return {
        str(label): _means(measured.filter(labels == label), names)
        for label in labels.unique().sort().to_list()
    }


def _groups(values: pl.Series, max_groups: int) -> pl.Series | None:
    """Each case's group, String (n,); None: the attribute makes no groups."""
    if values.dtype.is_numeric() and values.n_unique() > max_groups:
        numbers = values.cast(pl.Float64)
        low, high = numbers.quantile(1 / 3), numbers.quantile(2 / 3)
        if low is None or high is None:
            return None
        lower, upper = pl.lit(f"up to {low:g}"), pl.lit(f"above {high:g}")
        made = pl.when(numbers <= low).then(lower).when(numbers > high).then(upper)
        values = pl.select(
            pl.when(numbers.is_not_null()).then(
                made.otherwise(pl.lit(f"above {low:g} to {high:g}"))
            )
        ).to_series()
    elif not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Categorical)):
        return None
    return (
        values.cast(pl.String).fill_null(UNKNOWN) if 1 < values.n_unique() <= max_groups else None
    )


def _gaps(parts: Mapping[str, Mapping[str, Any]], min_users: int) -> dict[str, dict[str, Any]]:
    large = {name: part for name, part in parts.items() if part["n_users"] >= min_users}
    gap: dict[str, float | None] = {}
    worst: dict[str, str | None] = {}
    for metric in next(iter(parts.values()), {}):
        if metric != "n_users":
            values = {
                name: part[metric] for name, part in large.items() if part[metric] is not None
            }
            compared = len(values) > 1
            gap[metric] = max(values.values()) - min(values.values()) if compared else None
            worst[metric] = min(values, key=lambda name: values[name]) if compared else None
    return {"gap": gap, "worst": worst}


def _means(measured: pl.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    users, means = _user_means(measured, names)
    valued = ~np.isnan(means)
    totals, counts = np.where(valued, means, 0.0).sum(axis=0), valued.sum(axis=0)
    values = [
        float(total / count) if count else None for total, count in zip(totals, counts, strict=True)
    ]
    return {"n_users": len(users), **dict(zip(names, values, strict=True))}


def _user_means(measured: pl.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Users, sorted, str (n,), and their mean of each column, float64 (n, m), NaN where they have
    no value.

    Summed in row order: exactly repeatable.
    """
    users, codes = np.unique(measured[C.USER].to_numpy().astype(str), return_inverse=True)
    means = np.full((len(users), len(names)), np.nan)
    for place, name in enumerate(names):
        values = measured[name].cast(pl.Float64).to_numpy()
        valued = ~np.isnan(values)
        counts = np.bincount(codes[valued], minlength=len(users))
        sums = np.bincount(codes[valued], values[valued], minlength=len(users))
        np.divide(sums, counts, out=means[:, place], where=counts > 0)
    return users, means
