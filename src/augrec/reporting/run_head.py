"""The head of a run's report: which run it is, and what became of its model.

The report itself is the output of a stage, and the same for the same data. What only the run knows
is kept beside it, and put into a copy, index.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from markupsafe import Markup

from augrec.core.files import read_json, write_json, write_text
from augrec.reporting.pages import render

MARK: Final = Markup("<!-- the run -->")
"""Where the head goes in a report."""
PAGE: Final = "index.html"
REPORT: Final = "report.html"
_FACTS: Final = "run.json"
_ROWS: Final = ("run", "date", "data", "commit", "version", "outcome")


def complete(reports: Path, **facts: tuple[str, str]) -> str:
    """Write index.html, the report with what is known of its run; returns the page.

    Args:
        reports: the run's folder with report.html.
        facts: run, date, data, commit, version, outcome: each a text and an address, or "". Those
            of earlier calls are kept.
    """
    path = reports / _FACTS
    known = (read_json(path) if path.exists() else {}) | facts
    write_json(path, known)
    rows = [(name, *known[name]) for name in _ROWS if name in known]
    if (reports / "validation" / PAGE).exists():
        rows.append(("checks of the data", "Data Docs", f"validation/{PAGE}"))
    head = Markup(render("run_head.html", rows=rows))
    page = (reports / REPORT).read_text(encoding="utf-8").replace(MARK, head, 1)
    write_text(reports / PAGE, page)
    return page
