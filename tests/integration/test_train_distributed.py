"""The stage train_generator on two processes that train one generator together, through Lightning
Fabric."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file
from test_train_generator import KEPT, MADE, made, start, step_of, workspace

from augrec.stages import train_generator

SHORT = {"steps": 10, "log_every": 5}
HALVES = """
import json, os, sys
from pathlib import Path

import torch
from torch import nn

from augrec.data.training_data import Hardware
from augrec.generators._training.hardware import Engine
from augrec.generators._training.train_state import TrainState

devices, rank = int(sys.argv[1]), int(os.environ.get("LOCAL_RANK", "0"))
torch.set_num_threads(1)
engine = Engine(Hardware(devices=devices, precision="full"))
engine.launch()
torch.manual_seed(rank)  # the first process's weights are taken by the others
network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), 0.05)
batches = torch.Generator().manual_seed(3)  # of all processes together

def step():
    rows = torch.randn(64, 8, generator=batches)
    rows = rows[rank * 64 // devices : (rank + 1) * 64 // devices]
    rows.requires_grad_()
    out = network(rows)
    slope = torch.autograd.grad(out.sum(), rows, create_graph=True)[0]
    loss = (out.squeeze(1) - rows.detach().sin().sum(1)).square().mean()
    loss = loss + (slope.norm(dim=1) - 1).square().mean()  # as a critic's gradient penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.detach()}

state = TrainState({"n": network}, {"n": optimizer}, step, dict, seed=0)
run = engine.prepare(state)
curve = [engine.mean(run())["loss"] for _ in range(40)]
if rank == 0:
    Path(sys.argv[2]).write_text(json.dumps(curve))
"""
"""Trains with a gradient penalty on one batch of 64, or each process on its share of it."""


def test_two_processes_have_the_loss_curve_of_one_with_the_same_batch(tmp_path: Path) -> None:
    script = tmp_path / "halves.py"
    script.write_text(HALVES)
    curves = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.json"
        command = [sys.executable, str(script), str(devices), str(out)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        curves.append(json.loads(out.read_text()))
    alone, together = curves
    assert alone[-1] < 0.5 * alone[0]
    np.testing.assert_allclose(together, alone, rtol=2e-4)


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
