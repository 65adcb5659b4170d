"""The figures of a run's report as separate SVG images."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Final

_SECTION = re.compile(r'<section id="(\w+)">(.*?)</section>', re.S)
_FIGURE = re.compile(
    r'<figure>\s*<p class="name">(?P<title>[^<]*)</p>\s*'
    r"<figcaption>(?P<caption>[^<]*)</figcaption>\s*"
    r'<svg class="plot" viewBox="(?P<box>[\d. -]+)"[^>]*? '
    r'aria-label="(?P<text>[^"]*)"[^>]*>(?P<body>.*?)</svg>\s*</figure>',
    re.S,
)
_STYLE: Final = Path(__file__).with_name("figure.css").read_text(encoding="utf-8")


def of_report(html: str) -> list[dict[str, str]]:
    """The figures of a report, in their order.

    Args:
        html: written by `augrec.reporting.report`.

    Returns:
        For each figure section (id of its section), title, caption, text (text alternative) and
        svg, a complete file with its own light and dark colours. It is meant for <img>, where it
        cannot run scripts or load anything.
    """
    return [
        {
            "section": section[1],
            "title": unescape(found["title"]),
            "caption": unescape(found["caption"]),
            "text": unescape(found["text"]),
            "svg": _complete(found["box"], found["body"]),
        }
        for section in _SECTION.finditer(html)
        for found in _FIGURE.finditer(section[2])
    ]


def _complete(box: str, body: str) -> str:
    width, height = box.split()[2:4]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" '
        f'width="{width}" height="{height}">'
        f"<style>\n{_STYLE}</style>{body}</svg>"
    )
