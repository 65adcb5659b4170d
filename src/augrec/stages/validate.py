"""Validate the raw tables: data/raw → data/validated, data/quarantine and reports/validation."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Final

from augrec.core.config import read_params
from augrec.core.memory import require_memory
from augrec.data.columns import Columns as C
from augrec.data.instants import resolution
from augrec.stages.runner import run
from augrec.validation.config import read_config
from augrec.validation.snapshot import check_snapshot, read_snapshot, write_kept, write_quarantine

log = logging.getLogger(__name__)

RAW, VALIDATED = Path("data/raw"), Path("data/validated")
QUARANTINE, REPORT = Path("data/quarantine"), Path("reports/validation")
_BYTES_OF_A_ROW: Final = 480
"""Of memory, see benchmarks/results/stage_growth_data.md."""


def main() -> None:
    """Validate the snapshot of the working directory.

    If a critical limit is violated, the quarantine and the report are written, data/validated is
    not.
    """
    config, window = read_config(read_params())
    require_memory(
        RAW / "interactions.parquet",
        _BYTES_OF_A_ROW,
        "import a shorter time, or take a machine with more memory",
    )
    checked = check_snapshot(read_snapshot(RAW), config, window)
    write_quarantine(QUARANTINE, checked.tables)
    from augrec.validation import report  # Great Expectations takes seconds to import

    times = f"Times have the resolution of {resolution(checked.kept['interactions'][C.TIMESTAMP])}."
    outcomes = report.write(
        REPORT,
        "Validation of the raw data",
        checked.suites,
        checked.counts(),
        {"interactions_kept": "interactions"},
        checked.moment,
        note=times,
    )
    for name, counts in checked.counts().items():
        log.info("%s: %s", name, ", ".join(f"{n:,} {word}" for word, n in counts.items()))
    log.info(times)
    # the output of an earlier run must not be used in place of refused data
    shutil.rmtree(VALIDATED, ignore_errors=True)
    report.refuse_failures(outcomes, "the data was refused", f"{REPORT}/index.html, {QUARANTINE}")
    write_kept(VALIDATED, checked.kept)


if __name__ == "__main__":
    run(main)
