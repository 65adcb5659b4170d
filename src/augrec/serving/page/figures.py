"""The drawings of a run's report, one by one, as pictures of their own."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

_SECTION = re.compile(r'<section id="(\w+)">(.*?)</section>', re.S)
_FIGURE = re.compile(
    r"<figure>\s*<h4>(?P<title>[^<]*)</h4>\s*<figcaption>(?P<caption>[^<]*)</figcaption>\s*"
    r'<svg class="plot" viewBox="(?P<box>[\d. -]+)"[^>]*? '
    r'aria-label="(?P<text>[^"]*)"[^>]*>(?P<body>.*?)</svg>\s*</figure>',
    re.S,
)
_COLOURS: Final = """
:root { font-family: system-ui, sans-serif;
  --ink: #1b1d22; --muted: #5a616b; --rule: #dcdfe3; --real: #0067a3; --placebo: #c77700; --generated: #00805c;
  --gain: #1a7f5a; --loss: #b8400c; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #eceef1; --muted: #a9b0ba; --rule: #3a3f47; --real: #62b5ec; --placebo: #f0ae45; --generated: #45c99b;
  --gain: #45c99b; --loss: #ff8f5e; } }
"""


def of_report(html: str) -> list[dict[str, str]]:
    """The figures of a report in its order.

    Args:
        html: what `augrec.reporting.report` wrote.

    Returns:
        section (the id of its section), title, caption, text (the text alternative) and svg for
        each. The svg is a whole file with its own colours, light or dark, meant for <img>, where
        nothing in it can run or load anything.
    """
    return [
        {
            "section": section[1],
            "title": unescape(found["title"]),
            "caption": unescape(found["caption"]),
            "text": unescape(found["text"]),
            "svg": _whole(found["box"], found["body"]),
        }
        for section in _SECTION.finditer(html)
        for found in _FIGURE.finditer(section[2])
    ]


def _whole(box: str, body: str) -> str:
    width, height = box.split()[2:4]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{width}" '
        f'height="{height}">'
        f"<style>{_COLOURS}</style>{body}</svg>"
    )
