"""Plots of the reports: lines, histograms, intervals, shares and dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
import matplotlib.dates
import matplotlib.ticker
import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from augrec.data.slices import SLICES
from augrec.evaluation.user_means import OVERALL
from augrec.reporting.gains import Gain, UserGains
from augrec.reporting.svg import COLOURS, draw
from augrec.reporting.words import KINDS, metric_words

MARKERS: Final = {"real": "o", "placebo": "s", "generated": "D"}


def timeline(activity: pl.DataFrame, label: str) -> Markup:
    """Interactions over time, coloured by the period they fall in."""

    def paint(axes: Axes) -> None:
        colours = {"train": COLOURS["rule"], "validation": COLOURS["muted"], "test": COLOURS["ink"]}
        for period, colour in colours.items():
            part = activity.filter(pl.col("period") == period)
            if len(part):
                starts = part["start"].to_numpy().astype("datetime64[s]")
                widths = part["width"].to_numpy().astype("timedelta64[s]")
                axes.bar(
                    starts, part["n"].to_numpy(), widths, align="edge", color=colour, label=period
                )
        # five at most need two at least: a few hours would have no interval that fits otherwise
        locator = mpl.dates.AutoDateLocator(minticks=2, maxticks=5)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(_dates(locator))
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("interactions")
        _legend_above(axes)

    return draw(paint, label)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    label: str,
    *,
    x: str,
    y: str,
    colours: Mapping[str, str],
    log: str = "",
    diagonal: bool = False,
) -> Markup:
    """Named lines; `log` holds the axes that are logarithmic; `diagonal` draws what guessing would
    give."""

    def paint(axes: Axes) -> None:
        if diagonal:
            axes.plot(
                [0, 1],
                [0, 1],
                color=COLOURS["muted"],
                linewidth=1,
                linestyle=(0, (3, 3)),
                label="guessing",
            )
        for place, (name, (xs, ys)) in enumerate(series.items()):
            axes.plot(
                xs,
                ys,
                color=COLOURS[colours[name]],
                label=name,
                linestyle="-" if place == 0 else (0, (5, 1.5)),
            )
        if "x" in log:
            axes.set_xscale("log")
            _log_ticks(axes.xaxis)
        if "y" in log:
            axes.set_yscale("log")
            _log_ticks(axes.yaxis)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        _legend_above(axes)

    return draw(paint, label)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    label: str,
    *,
    kinds: Mapping[str, str],
) -> Markup:
    """Training curves of several policies, coloured by kind."""

    def paint(axes: Axes) -> None:
        named: set[str] = set()
        for policy, (steps, values) in series.items():
            kind = kinds[policy]
            axes.plot(
                steps,
                values,
                color=COLOURS[kind],
                linewidth=1.2,
                alpha=0.9,
                label=f"_{kind}" if kind in named else KINDS[kind],
            )
            named.add(kind)
        axes.set_xlabel("step")
        _legend_above(axes)

    return draw(paint, label)


def histogram(
    edges: Sequence[float],
    groups: Mapping[str, Sequence[float]],
    label: str,
    *,
    x: str,
    colours: Mapping[str, str],
    of: str = "users",
    ticks: Mapping[float, str] | None = None,
) -> Markup:
    """Shares by bin, each group scaled to 100 % of what it holds, drawn as steps over one another;
    `ticks` name places."""

    def paint(axes: Axes) -> None:
        for place, (name, counts) in enumerate(groups.items()):
            shares = 100 * np.asarray(counts, float) / max(float(np.sum(counts)), 1e-12)
            colour = COLOURS[colours[name]]
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.18)
            axes.stairs(
                shares,
                edges,
                color=colour,
                linewidth=1.5,
                label=name,
                linestyle="-" if place == 0 else (0, (5, 1.5)),
            )
        axes.set_xlabel(x)
        axes.set_ylabel(f"% of {of}")
        axes.set_ylim(bottom=0)
        if ticks:
            named = {place: name for place, name in ticks.items() if edges[0] <= place <= edges[-1]}
            axes.set_xticks(list(named), list(named.values()))
        _legend_above(axes)

    return draw(paint, label)


def differences(
    gains: Sequence[Gain], label: str, *, metric: str, reach: tuple[float, float]
) -> Markup:
    """A dot and an interval for each policy, slice by slice, with a line where nothing changes.

    Args:
        gains: of one recommender.
        label: the text alternative.
        metric: what was measured.
        reach: the horizontal range, the same for all recommenders, so that they compare by eye.
    """
    rows: list[Gain | str] = []
    for group in (OVERALL, *SLICES):
        inside = [gain for gain in gains if gain.slice == group]
        if inside:
            name = "all" if group == OVERALL else f"{group} items".replace("-", "–")
            rows += [f"{name} ({inside[0].n_users})", *inside]

    def paint(axes: Axes) -> None:
        axes.axvline(0, color=COLOURS["ink"], linewidth=0.9)
        for place, row in enumerate(rows):
            if isinstance(row, Gain):
                axes.errorbar(
                    row.difference,
                    place,
                    xerr=[[row.difference - row.low], [row.high - row.difference]],
                    fmt=MARKERS[row.kind],
                    color=COLOURS[row.kind],
                    markersize=4.5,
                    linewidth=1.5,
                )
        names = [row.policy if isinstance(row, Gain) else row for row in rows]
        axes.set_yticks(range(len(rows)), names)
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            if not isinstance(row, Gain):
                tick.set(color=COLOURS["ink"], fontweight="bold")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes.set_xlim(*reach)
        axes.set_xlabel(f"change in {metric_words(metric)}")

    return draw(paint, label, height=0.75 + 0.185 * len(rows))


def shares(
    names: Sequence[str],
    real: Sequence[float],
    synthetic: Sequence[float],
    label: str,
    of: str = "interactions",
) -> Markup:
    """Two dots for each name, joined by a line: its share of real and of synthetic interactions, or
    what else is counted."""

    def paint(axes: Axes) -> None:
        places = range(len(names))
        axes.hlines(
            places,
            np.minimum(real, synthetic),
            np.maximum(real, synthetic),
            color=COLOURS["rule"],
            linewidth=3,
        )
        axes.plot(real, places, MARKERS["real"], color=COLOURS["real"], markersize=5, label="real")
        axes.plot(
            synthetic,
            places,
            MARKERS["generated"],
            color=COLOURS["generated"],
            markersize=5,
            label="synthetic",
        )
        axes.set_yticks(places, [name if len(name) < 19 else f"{name[:17]}…" for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes.set_xlabel(f"share of {of}")
        _legend_above(axes)

    return draw(paint, label, height=max(2.35, 0.9 + 0.2 * len(names)))


def dots(
    groups: Mapping[str, Sequence[Sequence[float]]], label: str, *, colours: Mapping[str, str]
) -> Markup:
    """Points of several groups over one another, without a scale: only relative distances are
    meaningful."""

    def paint(axes: Axes) -> None:
        for place, (name, points) in enumerate(groups.items()):
            colour = COLOURS[colours[name]]
            look = (
                {"markersize": 4, "markerfacecolor": "none"} if place == 0 else {"markersize": 2.2}
            )
            axes.plot(
                *np.asarray(points).T,
                "o" if place == 0 else "D",
                color=colour,
                alpha=0.75,
                markeredgewidth=0.7,
                linestyle="",
                label=name,
                **look,
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        _legend_above(axes)

    return draw(paint, label, height=3.2)


def user_gains(gains: UserGains, label: str, *, metric: str) -> Markup:
    """Histogram of users by their gain."""
    values = np.asarray(gains.values)
    reach = max(float(np.abs(values).max()), 1e-9)
    edges = np.linspace(-reach, reach, 30)  # an odd number of bins: the middle one is "no change"
    counts, _ = np.histogram(values, edges)
    middles = (edges[1:] + edges[:-1]) / 2
    colours = np.where(
        middles > reach / 29,
        COLOURS["gain"],
        np.where(middles < -reach / 29, COLOURS["loss"], COLOURS["rule"]),
    )

    def paint(axes: Axes) -> None:
        axes.bar(middles, counts, width=0.9 * (edges[1] - edges[0]), color=colours.tolist())
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
        axes.set_xlabel(f"a user's gain in {metric_words(metric)}")
        axes.set_ylabel("users")

    return draw(paint, label)


def _dates(locator: mpl.dates.AutoDateLocator) -> mpl.dates.ConciseDateFormatter:
    """Dates that can each be read alone: "Jan 2022", not a year among names of months."""
    return mpl.dates.ConciseDateFormatter(
        locator,
        formats=["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
        zero_formats=["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
        offset_formats=["", "", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"],
    )


def _log_ticks(axis: Axis) -> None:
    """Ticks at powers of ten, and at 2 and 5 times them where those alone would be too few."""
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    axis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(_plain_ticks)
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def _plain_ticks(value: float, _: float) -> str:
    return f"{value:g}"


def _legend_above(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=3,
        borderpad=0,
        handlelength=1.6,
        columnspacing=1.2,
    )
