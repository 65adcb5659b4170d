"""Draws with matplotlib as SVG that takes the page's fonts and colours, so that it reads in light,
in dark and in print."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib import figure as mpl_figure

# Drawn in these colours, then replaced by the style sheet's variables of the same name.
COLOURS: Final = {
    "ink": "#101010",
    "muted": "#707070",
    "rule": "#d0d0d0",
    "real": "#0072b2",
    "placebo": "#e69f00",
    "generated": "#009e73",
    "gain": "#1a7f5a",
    "loss": "#c1440e",
}

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 9.5,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Figure:
    """A drawing and the words that go with it."""

    title: str
    caption: str
    svg: Markup


def draw(paint: Any, label: str, height: float = 2.35) -> Markup:
    """Let `paint` fill one set of axes, and give the SVG with `label` as its text alternative."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": label}):
        figure = mpl_figure.Figure(figsize=(3.7, height), layout="constrained")
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), label))


def _inline(svg: str, label: str) -> str:
    """Only what a browser needs inside a page; no fonts, names or colours of its own."""
    svg = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]*)"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", body)
    body = re.sub(
        r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0]), body
    )  # coordinates, never words
    body = re.sub(r"\s*\n\s*", " ", body)
    for name, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{name})")
    title = escape(label, quote=True)
    return (
        f'<svg class="plot" viewBox="{box[1] if box else ""}" role="img" '
        f'aria-label="{title}"><title>{title}</title>{body}'
    )
