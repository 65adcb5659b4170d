"""HTML pages of a validation report: an index and one Data Docs page for each suite.

Great Expectations' own pages load styles, icons and scripts from the network and contain
identifiers and times that change with every run. These keep their content, work offline and are the
same for the same data. The index is written here, because the original is empty without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

_PAGE: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
_STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_CONTENT: Final = re.compile(
    r'(<div id="section-1" class="ge-section.*)</div>\s*</div>\s*</div>\s*<footer>', re.S
)
_RUN_DETAILS: Final = re.compile(
    r'<div id="section-1-content-block-3".*?(?=<div id="section-2")', re.S
)
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUITE_LINK: Final = re.compile(r'<a href="[./]*expectations/[^"]*" >([^<]*)</a>')
_SCRIPT: Final = re.compile(r"<script\b.*?</script>", re.S)


def data_docs(name: str, about: str, page: str) -> str:
    """A Data Docs page of Great Expectations without network access and without identifiers that
    depend on the run.

    Args:
        name: of the suite.
        about: description of the table.
        page: the HTML that Great Expectations rendered.

    Raises:
        ValueError: the HTML has another structure than expected.
    """
    found = _CONTENT.search(page)
    if found is None:
        raise ValueError(
            f"unexpected structure of the Data Docs page of {name}; was Great Expectations updated?"
        )
    content = _RUN_DETAILS.sub("</div></div>\n", found[1])
    content = _SCRIPT.sub("", _SUITE_LINK.sub(r"\1", content)).replace("Data asset: None<br>", "")
    numbers: dict[str, str] = {}
    content = _IDENTIFIER.sub(
        lambda match: numbers.setdefault(match[0], f"part-{len(numbers)}"), content
    )
    content = "\n".join(line.rstrip() for line in content.splitlines() if line.strip())
    head = f'<p><a href="index.html">all tables</a></p>\n<h1>{escape(about)}</h1>\n'
    return _PAGE.format(title=escape(f"Data Docs: {name}"), style=_STYLE, body=head + content)


def index(
    title: str,
    results: Mapping[str, Any],
    suites: Sequence[tuple[str, str, int, int]],
    note: str = "",
) -> str:
    """The index page.

    Args:
        title: heading of the page.
        results: contents of results.json.
        suites: (name, description of the table, checks passed, number of checks) of each suite.
        note: a sentence about the data.
    """
    if results["success"]:
        verdict = (
            '<p class="passed">Every critical expectation holds.</p>'
            '<p><a href="../report.html">Report of the run</a></p>'
        )
    else:
        failures = "".join(f"<li>{escape(text)}</li>" for text in results["critical_failures"])
        verdict = (
            '<p class="failed">Refused because of critical expectations:</p>'
            f'<ul class="failed">{failures}</ul>'
        )
    parts = [f"<h1>{escape(title)}</h1>", verdict]
    if note:
        parts.append(f"<p>{escape(note)}</p>")
    parts += [_tables(results["tables"]), _suites(suites)]
    warnings = [
        f"<li>{escape(name)}: {escape(e['claim'])}; observed {escape(observed(e))}</li>"
        for name, table in results["tables"].items()
        for e in table["expectations"]
        if not e["success"] and not e["critical"]
    ]
    if warnings:
        parts.append(f"<h2>Not met, reported only</h2><ul class='warning'>{''.join(warnings)}</ul>")
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(parts))


def observed(expectation: Mapping[str, Any]) -> str:
    """The observed value of a check as text."""
    found = expectation["observed"]
    if expectation["rows"] is not None:
        share = found / expectation["rows"] if expectation["rows"] else 0.0
        return f"{found:,} of {expectation['rows']:,} rows unexpected ({share:.2%})"
    if isinstance(found, int | float) and not isinstance(found, bool):
        return f"{found:,}"
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> str:
    columns = [
        c
        for c in ("rows", "good", "quarantined", "out_of_window")
        if any(c in t for t in tables.values())
    ]
    head = "".join(f'<th class="n">{c.replace("_", " ")}</th>' for c in columns)
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f'<td class="n">{table.get(c, 0):,}</td>' for c in columns)
        + "</tr>"
        for name, table in tables.items()
    )
    head = f"<thead><tr><th>table</th>{head}</tr></thead>"
    return f"<h2>Rows</h2><table>{head}<tbody>{rows}</tbody></table>"


def _suites(suites: Sequence[tuple[str, str, int, int]]) -> str:
    rows = "".join(
        f'<tr><td><a href="{escape(name)}.html">{escape(about)}</a></td>'
        f'<td class="n {"passed" if passed == n else "warning"}">{passed} of {n}</td></tr>'
        for name, about, passed, n in suites
    )
    head = '<thead><tr><th>suite</th><th class="n">expectations that hold</th></tr></thead>'
    return f"<h2>Data Docs</h2><table>{head}<tbody>{rows}</tbody></table>"
