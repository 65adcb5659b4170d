"""The stage train_generator: killed and started again, in half precision, with a generator that
breaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from configured import write_params
from safetensors import safe_open
from safetensors.numpy import load_file
from test_model_stages import interactions

from augrec.core.files import read_json, write_json
from augrec.stages import train_generator

GAN = {"steps": 60, "batch_size": 16, "hidden": 16, "noise": 8, "log_every": 10}
KEPT = Path("models/.checkpoints/generators/profile_gan")
MADE = Path("models/generators/profile_gan")


def workspace(folder: Path, gan: dict[str, Any] | None = None, **hardware: Any) -> Path:
    (folder / "data/prepared").mkdir(parents=True)
    (folder / "data/training_set").mkdir()
    sections = {"seed": 5, "generators": {"profile_gan": GAN | (gan or {})}, "hardware": hardware}
    write_params(folder, sections)
    rows = interactions(1, 80)
    rows.write_parquet(folder / "data/training_set/interactions.parquet")
    rows.select("item_id").unique(maintain_order=True).write_parquet(
        folder / "data/prepared/items.parquet"
    )
    return folder


def start(folder: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "augrec.stages.train_generator", "profile_gan"]
    environment = os.environ | {"AUGREC_CURVE": str(folder / "curve.jsonl")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / MADE).iterdir())}


def test_a_generator_takes_the_steps_that_select_decided_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(workspace(tmp_path / "run", {"steps": "auto"}))
    decided = {"left_out": None, "settings": {"steps": 20}}
    write_json(Path("data/selection/generators/profile_gan.json"), decided)
    train_generator.main("profile_gan")
    assert read_json(MADE / "training.json")["settings"] == {"steps": 20}
    assert read_json(MADE / "component.json")["config"]["steps"] == 20
    assert pl.read_csv(MADE / "curve.csv")["step"].max() == 20


def step_of(folder: Path) -> int:
    """The step of the checkpoint in a folder."""
    with safe_open(folder / "checkpoint.safetensors", "np") as file:
        return int(json.loads(file.metadata()["facts"])["step"])


def test_a_stage_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    long = {"steps": 500, "log_every": 10}
    whole, cut = workspace(tmp_path / "whole", long), workspace(tmp_path / "cut", long)
    stage = start(cut)
    while not (cut / KEPT / "checkpoint.safetensors").exists():
        assert stage.poll() is None, stage.communicate()[0]
        time.sleep(0.02)
    time.sleep(0.2)  # into the steps after it
    stage.send_signal(signal.SIGKILL)
    stage.communicate()
    reached = step_of(cut / KEPT)
    assert 10 <= reached < 500
    assert not (cut / MADE).exists(), "half a generator is none"
    for folder in (whole, cut):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("AUGREC_CURVE", str(folder / "again.jsonl"))
        train_generator.main("profile_gan")
        assert not (folder / KEPT).exists()
    assert made(cut) == made(whole)
    assert (cut / "again.jsonl").read_text() == (whole / "again.jsonl").read_text()
    told = [json.loads(line) for line in (cut / "again.jsonl").read_text().splitlines()]
    assert {(line["role"], line["name"]) for line in told} == {("generator", "profile_gan")}
    assert [line["row"]["step"] for line in told] == list(range(10, 501, 10))


def test_half_precision_trains_and_keeps_whole_weights(tmp_path, monkeypatch):
    found = {}
    for precision in ("full", "bf16"):
        monkeypatch.chdir(workspace(tmp_path / precision, precision=precision))
        train_generator.main("profile_gan")
        found[precision] = load_file(MADE / "arrays.safetensors")["network.layers.0.weight"]
    assert found["bf16"].dtype == np.float32
    assert 0 < np.abs(found["bf16"] - found["full"]).max() < 0.1


def test_a_generator_that_breaks_is_not_published_but_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(workspace(tmp_path / "broken", {"learning_rate": 1e6}))
    train_generator.main("profile_gan")
    assert {path.name for path in MADE.iterdir()} == {"curve.csv", "left_out.json"}
    assert "diverged 4 times" in read_json(MADE / "left_out.json")["reason"]
    assert pl.read_csv(MADE / "curve.csv").height, "to see why"
    assert not list(KEPT.glob("*")), "there is nothing to go on from"
