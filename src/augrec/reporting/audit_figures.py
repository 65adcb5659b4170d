"""The figures of an audit: real and synthetic data side by side, each with a title, a caption and a
text alternative. None without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from augrec.reporting import load, plots
from augrec.reporting.svg import Figure
from augrec.reporting.words import between, number

_PAUSES = {
    0.0: "1 s",
    math.log10(60): "1 min",
    math.log10(3600): "1 h",
    math.log10(86400): "1 day",
    math.log10(86400 * 30): "1 month",
}
_SIDES = {"training": "training users", "held_out": "held-out users"}


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
