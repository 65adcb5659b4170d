"""Markdown tables with the command, the versions and the machine that made them."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are right-aligned."""
    marks = ["---"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, marks, *rows])


def gain(mean: float | None, low: float | None, high: float | None) -> str:
    """A difference with its interval, bold where that lies on one side of 0."""
    assert mean is not None and low is not None and high is not None
    text = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def write(
    name: str, title: str, parts: Sequence[str], command: str, versions: Mapping[str, str]
) -> None:
    """Write results/<name>.md: what was measured, by which command, with which versions, on how
    large a machine."""
    path = RESULTS / f"{name}.md"
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    made = f"`{command}` on {machine()}; {named}."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([f"# {title}", *parts, made]) + "\n")
    print(path.read_text())


def machine() -> str:
    """Its size in words."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB of memory, {accelerator}"
    )


def own_versions() -> dict[str, str]:
    names = ("torch", "numpy", "scipy", "polars")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def command_line(module: str) -> str:
    """The command that runs, with FOLDER in place of paths."""
    words = [re.sub(r"[^=:]*/[^=:]*", "FOLDER", word) for word in sys.argv[1:]]
    return shlex.join(["python", "-m", module, *words])
