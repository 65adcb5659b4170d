"""Renders a template as a self-contained HTML page: its style inlined, nothing loaded from
elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from augrec.reporting import gate_tables, words
from augrec.reporting.words import metric_words, number, percent, signed, slice_words

_HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """The page of a template in this folder; a value that it asks for and does not get is an
    error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        signed=signed,
        percent=percent,
        count=words.count,
        metric=metric_words,
        slice=slice_words,
        crowd=words.crowd,
        measure=words.measure,
        visible=gate_tables.visible,
    )
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)
