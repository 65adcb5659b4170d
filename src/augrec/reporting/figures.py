"""The figures of a run's report: each with a title, a caption and a text alternative. None without
data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augrec.evaluation.user_means import OVERALL
from augrec.reporting import gains, load, plots
from augrec.reporting.svg import Figure
from augrec.reporting.words import crowd, metric_words, number, plain, signed


def timeline(inputs: load.Inputs) -> Figure | None:
    """Interactions over time and where the split cuts."""
    if inputs.activity is None:
        return None
    title, caption = (
        "Interactions over time",
        "Models are trained on the first period, tuned on the second and tested on the last."
        if (inputs.split or {}).get("valid_from")
        else "Models are trained on all of it, but for the rows they are tuned and tested on.",
    )
    return Figure(title, caption, plots.timeline(inputs.activity, f"{title}. {caption}"))


def differences(found: Mapping[str, list[gains.Gain]], metric: str) -> list[Figure]:
    """A dot-and-interval plot for each recommender."""
    figures = []
    ends = [end for rows in found.values() for row in rows for end in (row.low, row.high, 0.0)]
    margin = 0.05 * (max(ends) - min(ends)) or 0.01 if ends else 0.0
    reach = (min(ends, default=0.0) - margin, max(ends, default=0.0) + margin)
    for recommender, rows in found.items():
        title = recommender
        sure = [row for row in rows if row.slice == OVERALL and (row.low > 0 or row.high < 0)]
        clear = ", ".join(f"{row.policy} {signed(row.difference)}" for row in sure)
        caption = (
            f"Over all users, clearly away from zero: {clear}."
            if sure
            else ("Over all users no policy is clearly better or worse than “none”.")
        )
        label = (
            f"{title}: difference in {metric_words(metric)} from policy none, by policy and user "
            f"activity. {caption}"
        )
        figures.append(
            Figure(title, caption, plots.differences(rows, label, metric=metric, reach=reach))
        )
    return figures


def winner_by_user(found: gains.UserGains | None, metric: str) -> Figure | None:
    """Users by their gain or loss."""
    if found is None:
        return None
    title = f"{found.recommender}, user by user: {found.policy} against none"
    unchanged = len(found.values) - found.better - found.worse
    caption = (
        f"Test {crowd(found.slice)}: {found.better} gained, {found.worse} lost, {unchanged} saw no "
        "change."
    )
    return Figure(title, caption, plots.user_gains(found, f"{title}. {caption}", metric=metric))


def generator_curves(generator: load.GeneratorFacts) -> list[Figure]:
    """A small figure for each column of a generator's training curve."""
    if generator.curve is None:
        return []
    step = generator.curve.columns[0]
    figures = []
    for column in generator.curve.columns[1:]:
        rows = generator.curve.select(step, column).drop_nulls()
        if len(rows) > 1:
            title = f"{generator.name}: {metric_words(column)}"
            caption = (
                f"From {number(rows[column][0])} to {number(rows[column][-1])} over "
                f"{rows[step][-1]:.0f} {plain(step)}s."
            )
            series = {column: (rows[step].to_list(), rows[column].to_list())}
            svg = plots.lines(
                series, f"{title}. {caption}", x=plain(step), y="", colours={column: "generated"}
            )
            figures.append(Figure(title, caption, svg))
    return figures


def recommender_curves(workspace: Path, arms: list[dict[str, Any]]) -> list[Figure]:
    """A small figure for each recommender and column of its training curves, with a line for each
    policy."""
    curves: dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]] = {}
    for arm in arms:
        folder = workspace / "models/recommenders" / arm["recommender"] / arm["policy"]
        curve = load.curve(folder / "curve.csv")
        for column in curve.columns[1:] if curve is not None else []:
            assert curve is not None
            rows = curve.select(curve.columns[0], column).drop_nulls()
            if len(rows) > 1:
                lines = curves.setdefault((arm["recommender"], column), {})
                lines[arm["policy"]] = (rows.to_series(0).to_list(), rows[column].to_list())
    kinds = {arm["policy"]: arm["kind"] for arm in arms}
    figures = []
    for (recommender, column), series in curves.items():
        title = f"{recommender}: {metric_words(column)}"
        caption = f"One line for each policy ({', '.join(series)}), coloured by its kind."
        svg = plots.curves(series, f"{title}. {caption}", kinds=kinds)
        figures.append(Figure(title, caption, svg))
    return figures
