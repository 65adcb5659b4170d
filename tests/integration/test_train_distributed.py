"""The stage train_generator on two processes that train one generator together, through Lightning Fabric."""

from __future__ import annotations

import numpy as np
import polars as pl
from safetensors.numpy import load_file
from test_train_generator import KEPT, MADE, start, workspace

from augrec.stages import train_generator

SHORT = {"steps": 10, "log_every": 5}


def test_two_processes_train_one_generator_together(tmp_path, monkeypatch):
    folder, alone = workspace(tmp_path / "two", SHORT, devices=2), workspace(tmp_path / "one", SHORT)
    stage = start(folder)
    told = stage.communicate()[0]
    assert stage.returncode == 0, told
    curve = pl.read_csv(folder / MADE / "curve.csv")
    assert curve["step"].to_list() == [5, 10]
    assert len((folder / "curve.jsonl").read_text().splitlines()) == 2, "one of the two tells"
    assert not (folder / KEPT).exists()
    monkeypatch.chdir(alone)
    train_generator.main("profile_gan")
    together, single = (load_file(one / MADE / "arrays.safetensors") for one in (folder, alone))
    weights = [name for name in single if name.startswith("network.")]
    assert all(np.isfinite(together[name]).all() for name in weights)
    assert any((together[name] != single[name]).any() for name in weights), "the other's batches count"
