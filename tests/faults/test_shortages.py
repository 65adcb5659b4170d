"""A stage runs out of memory or disk space."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from augrec.core.errors import TRANSIENT_EXIT, AugrecError, TransientError, from_json
from augrec.stages.runner import FAILURE_VARIABLE

LIMIT_BYTES = 4 * 2**30


def failure(work: str, folder: Path) -> AugrecError:
    """What a stage that does `work`, with limited memory, tells whoever started it."""
    report = folder / "failure.json"
    script = textwrap.dedent(f"""
        import resource
        from augrec.stages.runner import run

        def stage() -> None:
            {work}

        resource.setrlimit(resource.RLIMIT_AS, ({LIMIT_BYTES}, {LIMIT_BYTES}))
        run(stage)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, FAILURE_VARIABLE: str(report)}
    )
    assert done.returncode == TRANSIENT_EXIT
    return from_json(report.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "work",
    ["import numpy; numpy.ones(2**33)", "import torch; torch.ones(2**33)", "bytearray(2**36)"],
    ids=["numpy", "torch", "python"],
)
def test_a_stage_that_runs_out_of_memory_says_so_and_may_be_tried_again(
    work: str, tmp_path: Path
) -> None:
    error = failure(work, tmp_path)
    assert isinstance(error, TransientError) and "memory ran out" in error.what
    assert "smaller batches" in error.fix


def test_a_stage_on_a_full_disk_says_so_and_may_be_tried_again(tmp_path: Path) -> None:
    error = failure("open('/dev/full', 'w', buffering=1).write('row\\n')", tmp_path)
    assert isinstance(error, TransientError) and "disk is full" in error.what
    assert "augrec prune" in error.fix
