"""Two processes keep checkpoints of the same training: a task that Airflow gave up, and the one
that it started in its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from augrec.generators._training.checkpoints import CheckpointStore

N_WRITES = 150
WRITER = """
import sys
from pathlib import Path
import torch
from augrec.generators._training.checkpoints import Checkpoint, CheckpointStore

store, first = CheckpointStore(Path(sys.argv[1]), "same"), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for step in range(first, first + int(sys.argv[3])):
    store.write(Checkpoint(step, {"weights": torch.full((50_000,), float(step))}, {}), now=True)
"""


def test_a_checkpoint_that_two_processes_write_is_always_that_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "gan"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(first), str(N_WRITES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (0, 10_000)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        print("go", file=writer.stdin, flush=True)
    seen = set()
    while any(writer.poll() is None for writer in writers):
        found = CheckpointStore(folder, "same").read()
        if found is not None:
            assert torch.equal(
                found.tensors["weights"], torch.full((50_000,), float(found.step))
            ), "the facts of one checkpoint stand next to the weights of another"
            seen.add(found.step >= 10_000)
    said = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    assert seen == {False, True}
    assert list(folder.parent.iterdir()) == [folder], "a draft was left behind"
