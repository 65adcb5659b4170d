"""How much memory this process may use, and whether what it is about to read fits."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from augrec.core.errors import RefusedError

log = logging.getLogger(__name__)

USABLE: Final = 0.9
"""The share that a training may plan with; the rest is left to the data and the process itself."""
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SURE: Final = 0.5
"""The share of an estimate that is surely needed: ids may be shorter, and histories longer, than
where it was measured."""


def machine_memory() -> int:
    """All bytes that this process may use: the machine's, or those of its cgroup, as in a
    container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, _CGROUPS):
        if path.exists() and (text := path.read_text(encoding="ascii").strip()).isdigit():
            limits.append(int(text))
    return min(limits)


def free_memory() -> int:
    """Bytes that this process can still get: free ones of the machine and those that it would give
    up, but not more than its cgroup leaves."""
    found = [machine_memory()]
    facts = Path("/proc/meminfo")
    for line in facts.read_text(encoding="ascii").splitlines() if facts.exists() else ():
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    for limit in map(Path, _CGROUPS):
        usage = limit.with_name("memory.stat")
        if not limit.exists() or not usage.exists():
            continue
        taken = dict(line.split() for line in usage.read_text(encoding="ascii").splitlines())
        text = limit.read_text(encoding="ascii").strip()
        if text.isdigit():  # pages of files are given up
            found.append(int(text) - int(taken.get("anon", taken.get("rss", 0))))
    return min(found)


def refuse_beyond(needed: float, what: str, where: str, fix: str) -> None:
    """Refuse what needs more memory than there is.

    Args:
        needed: bytes.
        what: the work, for the message.
        where: the setting that decides.
        fix: what to do.

    Raises:
        RefusedError: it does not fit.
    """
    if needed > USABLE * (there := machine_memory()):
        message = f"{what} needs at least {gib(needed)} of memory, there are {gib(there)}"
        raise RefusedError(message, where=where, fix=fix)


def require_memory(table: Path, bytes_of_a_row: float, fix: str) -> None:
    """Say before the work begins that it will not fit into the memory.

    Args:
        table: the Parquet file that memory grows with; what is wrong with it, others say.
        bytes_of_a_row: what the work was measured to take for each of its rows, see
            benchmarks/results/stage_growth.md.
        fix: what to do.

    Raises:
        RefusedError: half of the estimate, which is surely needed, is more than the machine has. If
            the estimate is more than what is free, a warning is logged.
    """
    import polars as pl

    if not table.exists():
        return
    try:
        n_rows = pl.scan_parquet(table).select(pl.len()).collect().item()
    except (OSError, pl.exceptions.PolarsError):
        return
    needed, what = n_rows * bytes_of_a_row, f"to read {n_rows:,} rows"
    refuse_beyond(_SURE * needed, what, str(table), fix)
    if needed > (free := free_memory()):
        log.warning(
            "%s %s may take %s of memory, %s are free. If it runs out: %s",
            what,
            table,
            gib(needed),
            gib(free),
            fix,
        )


def gib(size: float) -> str:
    """Bytes in words: "2.1 GiB"."""
    return f"{size / 2**30:,.1f} GiB"
