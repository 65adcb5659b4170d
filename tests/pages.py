"""The pages of the documentation, taken apart: code blocks, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[1]
PAGES = [
    HOME / "README.md",
    HOME / "CONTRIBUTING.md",
    HOME / "benchmarks" / "README.md",
    *sorted((HOME / "docs").glob("*.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file.
        language: what stands after the opening fence.
        note: the HTML comment right above it, such as "file: PATH" or "not run: REASON"; or "".
        text: its lines.
    """

    page: Path
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(HOME)}: {self.text.splitlines()[0][:60]}"


def blocks(language: str | None = None) -> list[Block]:
    """All fenced blocks, or those of a language, in the order of the pages."""
    found = [
        Block(page, part["language"], part["note"] or "", part["text"])
        for page in PAGES
        for part in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
    return [one for one in found if language is None or one.language == language]


def printed_file(path: str) -> str:
    """The whole file that the docs print as `path`, named by a comment "file: PATH" above it."""
    [one] = [one for one in blocks("python") if one.note == f"file: {path}"]
    return one.text


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    return _INLINE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Targets of the links and images of a page."""
    return _LINK.findall(_INLINE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = [re.sub(r"[`*]", "", title).lower() for title in _HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}
