"""The stage train_generator on two processes that train one generator together, through Lightning
Fabric."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import polars as pl
from safetensors.numpy import load_file
from test_train_generator import KEPT, MADE, made, start, step_of, workspace

from augrec.stages import train_generator

SHORT = {"steps": 10, "log_every": 5}


def test_two_processes_train_one_generator_together_and_go_on_bit_for_bit(tmp_path, monkeypatch):
    whole, cut = (workspace(tmp_path / name, SHORT, devices=2) for name in ("whole", "cut"))
    stage = start(whole)
    output = stage.communicate()[0]
    assert stage.returncode == 0, output
    curve = pl.read_csv(whole / MADE / "curve.csv")
    assert curve["step"].to_list() == [5, 10]
    assert len((whole / "curve.jsonl").read_text().splitlines()) == 2, "one of the two reports"
    assert not (whole / KEPT).exists()

    os.mkfifo(cut / "curve.jsonl")
    stage = start(cut, start_new_session=True)
    with (cut / "curve.jsonl").open() as reports:
        assert json.loads(reports.readline())["row"]["step"] == 5
    while not (cut / KEPT / "checkpoint.safetensors").exists():
        assert stage.poll() is None, stage.communicate()[0]
        time.sleep(0.02)
    os.killpg(stage.pid, signal.SIGKILL)  # both, while the second row waits for a reader
    stage.communicate()
    assert step_of(cut / KEPT) == 5
    (cut / "curve.jsonl").unlink()
    stage = start(cut)
    output = stage.communicate()[0]
    assert stage.returncode == 0 and "continues from its checkpoint" in output, output
    assert made(cut) == made(whole)

    monkeypatch.chdir(workspace(tmp_path / "alone", SHORT))
    train_generator.main("profile_gan")
    together, single = (load_file(one / "arrays.safetensors") for one in (whole / MADE, MADE))
    weights = [name for name in single if name.startswith("network.")]
    assert all(np.isfinite(together[name]).all() for name in weights)
    assert any((together[name] != single[name]).any() for name in weights), (
        "the other's batches count"
    )
