"""Checkpoints of generators: what they must agree in, when they are written, and that the monitor
continues with them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from test_generator_training import Toy, run

from augrec.data.training_data import Hardware, TrainingData
from augrec.generators._training import checkpoints
from augrec.generators._training.checkpoints import Checkpoint, CheckpointStore, fingerprint
from augrec.generators._training.monitor import TrainingMonitor
from augrec.generators.base import find

ROWS = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"]})
OTHER = ROWS.with_columns(item_id=pl.lit("z"))


def mark(
    name: str = "profile_gan",
    seed: int = 1,
    config: dict | None = None,
    rows: pl.DataFrame = ROWS,
    users: pl.DataFrame | None = None,
    items: pl.DataFrame | None = None,
    devices: int = 1,
) -> str:
    data = TrainingData(
        rows, users=users, items=items, checkpoints=Path("kept"), hardware=Hardware(devices=devices)
    )
    return fingerprint(find(name)(config, seed=seed), data)


def test_equal_trainings_have_equal_fingerprints():
    assert mark() == mark()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "profile_vae"},
        {"seed": 2},
        {"config": {"steps": 7}},
        {"rows": OTHER},
        {"users": ROWS},
        {"items": ROWS},
        {"devices": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_changes_with_whatever_changes_a_training(change):
    assert mark(**change) != mark()


def test_the_fingerprint_changes_with_the_values_of_users_and_items():
    assert mark(users=ROWS) != mark(users=OTHER)
    assert mark(items=ROWS) != mark(items=OTHER)


def test_the_last_checkpoint_is_written_even_where_one_was_written_just_before(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "_SHARE_OF_TIME", 1e-9)  # the next is due in years

    def at(step: int) -> Checkpoint:
        return Checkpoint(step, {"weight": torch.zeros(1)}, {})

    store = CheckpointStore(tmp_path / "kept", "same")
    store.write(at(5))
    store.write(at(10))
    found = store.read()
    assert found is not None and found.step == 5
    store.write(at(15), now=True)
    found = store.read()
    assert found is not None and found.step == 15


def test_a_resumed_training_is_checked_against_the_rows_before_the_interruption(tmp_path):
    """Coverage that was fine before the interruption and shrinks after it is no beginner's."""

    def shrinks(step: int, rate: float) -> dict[str, float]:
        return {"coverage": 0.01 if rate == 0.1 and step in (10, 15) else 1.0}

    _, whole = run(Toy(statistics=shrinks))
    with pytest.raises(KeyboardInterrupt):
        run(Toy(statistics=shrinks, stop_at=6), tmp_path / "kept")
    toy = Toy(statistics=shrinks)
    _, resumed = run(toy, tmp_path / "kept")
    assert resumed == whole
    assert len(toy.started) == 2, "the first attempt failed, as it does without an interruption"


def test_an_alarm_that_passes_is_forgotten():
    monitor = TrainingMonitor({"duplicates": 0.1, "coverage": 0.8}, steps=100)
    rows = [0.1, 0.9, 0.1, 0.9, 0.1]
    found = [monitor.check({"step": 10 * n, "duplicates": value}) for n, value in enumerate(rows)]
    assert found == [True, False, True, False, True]
