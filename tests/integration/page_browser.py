"""A real headless Chromium, and the scripts that check a page in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that is installed on this machine."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, (
        f"the page is tested in Chromium, and none of {', '.join(_NAMES)} is installed: "
        "`apt-get install -y chromium` on Debian or Ubuntu, or put any Chromium on the PATH as "
        "`chromium`"
    )
    expect.set_options(timeout=30_000)  # a machine busy with other tests is slow
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


_HERE = Path(__file__).parent
FAINT = (_HERE / "page_faint.js").read_text()
"""Returns the texts that WCAG 2 AA calls too faint, with their contrast."""
UNLABELLED = (_HERE / "page_unlabelled.js").read_text()
"""Returns what a screen reader could not make sense of."""
