"""What a person reads: an index and the Data Docs pages, opening offline and the same for the same
data.

Great Expectations' own pages fetch their styles, icons and scripts from the network and carry
identifiers and times that change with every run. Here they keep their content and get a small style
sheet of ours; the index is written by us, since theirs is empty without the scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --good: #2e7d32; --warn: #b26a00; }
@media (prefers-color-scheme: dark) { :root { --bad: #ef7a7a; --good: #7cc77f; --warn: #e0a64a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2, h5 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
h6, .h6 { font-size: 1rem; font-weight: 600; margin: .6rem 0 .2rem; }
table { border-collapse: collapse; width: 100%; } td table { width: auto; margin-top: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); }
td table th, td table td { font-size: .9em; padding: .1rem .8rem .1rem 0; }
td:first-child { white-space: nowrap; } .n { text-align: right; font-variant-numeric: tabular-nums; }
.text-danger, .failed { color: var(--bad); } .text-success, .passed { color: var(--good); }
.warning { color: var(--warn); } .badge { font-family: ui-monospace, monospace; font-size: .92em; }
.fas { font-style: normal; } .fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before { content: "\\26A0"; } strong br { display: none; }
.table > thead th:first-child { width: 4rem; } .table > thead th:nth-child(3) { width: 30%; }
td > div > strong { display: block; font-weight: 400; }
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
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
    """A Data Docs page of Great Expectations, made to last: no network, no run-dependent
    identifiers.

    Args:
        name: the suite.
        about: the table in words.
        page: the HTML that Great Expectations rendered.
    """
    found = _CONTENT.search(page)
    if found is None:
        raise ValueError(
            f"the Data Docs page of {name} is not built as expected; was Great Expectations "
            "updated?"
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
    title: str, results: Mapping[str, Any], suites: Sequence[tuple[str, str, int, int]]
) -> str:
    """The first page.

    Args:
        title: its heading.
        results: what results.json holds.
        suites: name, table in words, checks passed and checks of each suite.
    """
    if results["success"]:
        verdict = '<p class="passed">Every critical expectation holds.</p>'
    else:
        failures = "".join(f"<li>{escape(text)}</li>" for text in results["critical_failures"])
        verdict = (
            '<p class="failed">Refused, because of critical expectations:</p><ul '
            f'class="failed">{failures}</ul>'
        )
    parts = [f"<h1>{escape(title)}</h1>", verdict, _tables(results["tables"]), _suites(suites)]
    warnings = [
        f"<li>{escape(name)}: {escape(e['claim'])}; observed {escape(observed(e))}</li>"
        for name, table in results["tables"].items()
        for e in table["expectations"]
        if not e["success"] and not e["critical"]
    ]
    if warnings:
        parts.append(
            f"<h2>Does not hold, but stops nothing</h2><ul class='warning'>{''.join(warnings)}</ul>"
        )
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(parts))


def observed(expectation: Mapping[str, Any]) -> str:
    """What a check found, in words."""
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
    return f"<h2>Rows</h2><table><thead><tr><th>table</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _suites(suites: Sequence[tuple[str, str, int, int]]) -> str:
    rows = "".join(
        f'<tr><td><a href="{escape(name)}.html">{escape(about)}</a></td>'
        f'<td class="n {"passed" if passed == n else "warning"}">{passed} of {n}</td></tr>'
        for name, about, passed, n in suites
    )
    head = '<thead><tr><th>suite</th><th class="n">expectations that hold</th></tr></thead>'
    return f"<h2>Data Docs</h2><table>{head}<tbody>{rows}</tbody></table>"
