"""How much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

USABLE: Final = 0.9
"""The share that a training may plan with; the rest is left to the data and the process itself."""
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """All bytes that this process may use: the machine's, or those of its cgroup, as in a
    container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, _CGROUPS):
        if path.exists() and (text := path.read_text(encoding="ascii").strip()).isdigit():
            limits.append(int(text))
    return min(limits)


def gib(size: float) -> str:
    """Bytes in words: "2.1 GiB"."""
    return f"{size / 2**30:,.1f} GiB"
