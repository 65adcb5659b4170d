"""Hold the raw tables against the limits: data/raw -> data/validated, data/quarantine and
reports/validation."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from augrec.stages.runner import read_params, run
from augrec.validation import limits
from augrec.validation.tables import judge_snapshot, read_snapshot, write_kept, write_quarantine

log = logging.getLogger(__name__)

RAW, VALIDATED = Path("data/raw"), Path("data/validated")
QUARANTINE, REPORT = Path("data/quarantine"), Path("reports/validation")


def main() -> None:
    """Validate the snapshot of the working directory.

    Where a critical limit is missed, the quarantine and the report are there to look at, and
    data/validated is not.
    """
    allowed, window = limits.read(read_params())
    judged = judge_snapshot(read_snapshot(RAW), allowed, window)
    write_quarantine(QUARANTINE, judged.verdicts)
    from augrec.validation import report  # Great Expectations takes seconds to import

    outcomes = report.write(
        REPORT,
        "Validation of the raw data",
        judged.suites,
        judged.counts(),
        {"interactions_kept": "interactions"},
        judged.moment,
    )
    for name, counts in judged.counts().items():
        log.info("%s: %s", name, ", ".join(f"{n:,} {word}" for word, n in counts.items()))
    shutil.rmtree(
        VALIDATED, ignore_errors=True
    )  # nothing of an earlier run may stand in for refused data
    report.refuse_failures(outcomes, "the data was refused", f"{REPORT}/index.html, {QUARANTINE}")
    write_kept(VALIDATED, judged.kept)


if __name__ == "__main__":
    run(main)
