"""The report's figures: each with a title, a caption and a text alternative. None without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from augrec.evaluation.user_means import OVERALL
from augrec.reporting import gains, load, plots
from augrec.reporting.words import between, crowd, metric_words, number, plain, signed


@dataclass(frozen=True)
class Figure:
    """A drawing and the words that go with it."""

    title: str
    caption: str
    svg: Markup


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


def popularity(generator: load.GeneratorFacts) -> Figure | None:
    """Share of interactions by item rank, real and synthetic."""
    drawn = (generator.distributions or {}).get("popularity")
    if not drawn:
        return None
    title = "How popular items are"
    caption = (
        "Items from most to least popular, and their share of interactions. The closer the lines, "
        "the more alike."
    )
    series = {name: _ranked(drawn[name]) for name in ("real", "synthetic") if drawn.get(name)}
    svg = plots.lines(
        series,
        f"{generator.name}: {title}. {caption}",
        x="item, by popularity rank",
        y="share of interactions",
        colours={"real": "real", "synthetic": "generated"},
        log="xy",
    )
    return Figure(title, caption, svg)


def lengths(generator: load.GeneratorFacts) -> Figure | None:
    """Profile lengths, real and synthetic."""
    drawn = (generator.distributions or {}).get("lengths")
    if not drawn:
        return None
    title, caption = (
        "Profile lengths",
        "Items in a profile. Synthetic users should have profiles as long as real ones.",
    )
    groups = {name: drawn[name] for name in ("real", "synthetic") if drawn.get(name)}
    svg = plots.histogram(
        drawn["edges"],
        groups,
        f"{generator.name}: {title}. {caption}",
        x="items in a profile",
        colours={"real": "real", "synthetic": "generated"},
    )
    return Figure(title, caption, svg)


def categories(generator: load.GeneratorFacts, most: int = 10) -> Figure | None:
    """Shares of the most frequent categories, real and synthetic."""
    drawn = (generator.distributions or {}).get("categories")
    if not drawn or not drawn["names"]:
        return None
    title = "Categories"
    caption = "The most frequent categories of real users, and their share among synthetic users."
    names, real, synthetic = (drawn[name][:most] for name in ("names", "real", "synthetic"))
    svg = plots.shares(names, real, synthetic, f"{generator.name}: {title}. {caption}")
    return Figure(title, caption, svg)


def events(generator: load.GeneratorFacts) -> Figure | None:
    """Shares of the kinds of events; nothing where there is only one."""
    drawn = (generator.distributions or {}).get("events")
    if not drawn or len(drawn["names"]) < 2:
        return None
    return _shares(
        generator, drawn, "Events", "Kinds of events, real and synthetic.", "interactions"
    )


def values(generator: load.GeneratorFacts) -> Figure | None:
    """Ratings or prices."""
    drawn = generator.distributions or {}
    title, caption = "Values", "Values, such as ratings, of the rows that have one."
    if drawn.get("values"):
        return _shares(generator, drawn["values"], title, caption, "values")
    return _histogram(generator, drawn.get("value_bins"), title, caption, x="value", of="values")


def gaps(generator: load.GeneratorFacts) -> Figure | None:
    """Time between two interactions of a user."""
    title = "Time gaps"
    caption = "Time between a user's consecutive interactions."
    drawn = (generator.distributions or {}).get("gaps")
    return _histogram(generator, drawn, title, caption, x="pause", of="pauses", ticks=_PAUSES)


def clusters(generator: load.GeneratorFacts) -> Figure | None:
    """Shares of the clusters that k-means finds among real and synthetic users together."""
    drawn = (generator.distributions or {}).get("clusters")
    if not drawn:
        return None
    caption = (
        "Clusters of real and synthetic users together; a cluster of real users that the sample "
        "lacks is a lost mode."
    )
    return _shares(generator, drawn, "Clusters of users", caption, "users")


def places(generator: load.GeneratorFacts) -> Figure | None:
    """A map of real and synthetic users."""
    drawn = (generator.distributions or {}).get("map")
    if not drawn:
        return None
    title = "Map of users"
    caption = (
        "A dot is a user; users with similar profiles are close. Where one colour stands alone, "
        "the other side has no similar users."
    )
    svg = plots.dots(
        drawn,
        f"{generator.name}: {title}. {caption}",
        colours={"real": "real", "synthetic": "generated"},
    )
    return Figure(title, caption, svg)


def neighbours(generator: load.GeneratorFacts) -> Figure | None:
    """How near synthetic users are to training users and to held-out users."""
    drawn = (generator.distributions or {}).get("neighbours")
    if not drawn:
        return None
    title = "Does it copy users?"
    caption = (
        "Likeness of each synthetic user to the nearest real one. If training users are nearer "
        "than held-out users, the generator has memorised them."
    )
    groups = {words: drawn[name] for name, words in _SIDES.items() if drawn.get(name)}
    svg = plots.histogram(
        drawn["edges"],
        groups,
        f"{generator.name}: {title} {caption}",
        x="similarity (1 = same items)",
        colours={"training users": "loss", "held-out users": "real"},
    )
    return Figure(title, caption, svg)


def attack(generator: load.GeneratorFacts) -> Figure | None:
    """ROC of the membership attack on the sample."""
    drawn = (generator.distributions or {}).get("roc")
    if not drawn:
        return None
    privacy = (generator.audit or {}).get("privacy") or {}
    auc, ends = privacy.get("attack_auc"), between(privacy, "attack_auc", missing="")
    title = "Can an attacker find training users?"
    caption = (
        "An attacker guesses from the sample who the generator was trained on: AUC "
        f"{number(auc, 2)}{f' ({ends})' if ends else ''}, where 0.50 is guessing and 1.00 is "
        "certainty."
    )
    series = {"attack": (drawn["false_positive_rate"], drawn["true_positive_rate"])}
    svg = plots.lines(
        series,
        f"{generator.name}: {title} {caption}",
        x="false positives",
        y="members found",
        colours={"attack": "loss"},
        diagonal=True,
    )
    return Figure(title, caption, svg)


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


_PAUSES = {
    0.0: "1 s",
    math.log10(60): "1 min",
    math.log10(3600): "1 h",
    math.log10(86400): "1 day",
    math.log10(86400 * 30): "1 month",
}
_SIDES = {"training": "training users", "held_out": "held-out users"}


def _ranked(shares: list[float]) -> tuple[list[float], list[float]]:
    kept = [share for share in shares if share > 0]
    return [float(rank) for rank in range(1, len(kept) + 1)], kept


def _shares(
    generator: load.GeneratorFacts,
    drawn: Mapping[str, list[Any]],
    title: str,
    caption: str,
    of: str,
) -> Figure:
    svg = plots.shares(
        drawn["names"],
        drawn["real"],
        drawn["synthetic"],
        f"{generator.name}: {title}. {caption}",
        of,
    )
    return Figure(title, caption, svg)


def _histogram(
    generator: load.GeneratorFacts,
    drawn: Mapping[str, Any] | None,
    title: str,
    caption: str,
    *,
    x: str,
    of: str,
    ticks: Mapping[float, str] | None = None,
) -> Figure | None:
    if not drawn:
        return None
    groups = {name: drawn[name] for name in ("real", "synthetic")}
    svg = plots.histogram(
        drawn["edges"],
        groups,
        f"{generator.name}: {title}. {caption}",
        x=x,
        of=of,
        ticks=ticks,
        colours={"real": "real", "synthetic": "generated"},
    )
    return Figure(title, caption, svg)
