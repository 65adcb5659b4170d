"""The training loop of generators: a toy training whose failures are planted step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from augrec.core.errors import RefusedError
from augrec.data.training_data import Hardware, TrainingData
from augrec.generators._training import checkpoints
from augrec.generators._training.hardware import Engine
from augrec.generators._training.loop import train
from augrec.generators._training.train_state import TrainState
from augrec.generators.base import find

STEPS, EVERY = 40, 5


@dataclass
class Toy:
    """A linear model that learns from noise; `statistics` and `loss` may be rigged by step and
    learning rate."""

    rate: float = 0.1
    statistics: Callable[[int, float], dict[str, float]] = lambda step, rate: {}
    loss: Callable[[int, float], float] = lambda step, rate: 0.0
    stop_at: int | None = None
    started: list[float] = field(default_factory=list)

    def start(self, lr_factor: float) -> TrainState:
        self.started.append(lr_factor)
        rate = self.rate * lr_factor
        numbers, noise = np.random.default_rng(1), torch.Generator().manual_seed(2)
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        steps = nn.Module()
        steps.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        optimizer = torch.optim.Adam(module.parameters(), rate)

        def step() -> dict[str, Tensor]:
            taken = int(steps.taken.add_(1))
            if taken == self.stop_at:
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=noise) + float(numbers.normal())
            loss = (module(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return {"loss": loss + self.loss(taken, rate)}

        return TrainState(
            {"module": module, "steps": steps},
            {"module": optimizer},
            step,
            lambda: self.statistics(int(steps.taken), rate),
            7,
            {"numbers": numbers, "noise": noise},
        )


def training_data(
    log: Callable = lambda row: None, checkpoints: Path | None = None
) -> TrainingData:
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}")
        for user in range(500)
        for item in rng.choice(100, 6, replace=False)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    return TrainingData(table, log=log, checkpoints=checkpoints)


def run(
    toy: Toy, folder: Path | None = None, mark: str = "same"
) -> tuple[TrainState, list[dict[str, float]]]:
    rows: list[dict[str, float]] = []
    state = train(
        toy.start,
        name="toy",
        steps=STEPS,
        log_every=EVERY,
        data=training_data(rows.append, folder),
        fingerprint=mark,
    )
    return state, rows


def weights(state: TrainState) -> list[float]:
    return torch.cat([p.flatten() for p in state.modules["module"].parameters()]).tolist()


def test_every_sample_measured_is_a_row_and_the_last_step_is_one():
    _, rows = run(Toy(statistics=lambda step, rate: {"seen": step}))
    assert (
        [row["step"] for row in rows]
        == [row["seen"] for row in rows]
        == [5, 10, 15, 20, 25, 30, 35, 40]
    )
    rows.clear()
    train(Toy().start, name="toy", steps=12, log_every=5, data=training_data(rows.append))
    assert [row["step"] for row in rows] == [5, 10, 12]


@pytest.mark.parametrize("at", [3, 6, 20, 39, 40])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path, at):
    whole, all_rows = run(Toy())
    with pytest.raises(KeyboardInterrupt):
        run(Toy(stop_at=at), tmp_path / "kept")
    steps_taken = []
    state, rows = run(
        Toy(statistics=lambda step, rate: steps_taken.append(step) or {}), tmp_path / "kept"
    )
    assert weights(state) == weights(whole)
    assert rows == all_rows
    assert len(steps_taken) == 8 if at <= EVERY else len(steps_taken) < 8, "not all is done again"


def test_a_checkpoint_of_another_training_or_one_that_is_damaged_is_not_used(tmp_path, caplog):
    whole, _ = run(Toy())
    for damage in ("another", "short", "words"):
        folder = tmp_path / damage
        with pytest.raises(KeyboardInterrupt):
            run(Toy(rate=0.3 if damage == "another" else 0.1, stop_at=30), folder, mark="first")
        if damage == "short":
            (folder / "checkpoint.safetensors").write_bytes(b"\x10")
        if damage == "words":
            (folder / "checkpoint.safetensors").write_text("12345678{")
        state, rows = run(Toy(), folder, mark="second" if damage == "another" else "first")
        assert weights(state) == weights(whole)
        assert len(rows) == 8
    assert caplog.text.count("cannot be read: training starts anew") == 2
    assert (
        caplog.text.count("another is of other code, settings or data: training starts anew") == 1
    )


def test_a_checkpoint_knows_the_code_it_was_made_by_and_not_what_python_compiles_of_it(
    tmp_path, monkeypatch
):
    code, generator = tmp_path / "augrec", find("profile_gan")()
    (code / "data").mkdir(parents=True)
    (code / "data/histories.py").write_text("old = 1\n")
    monkeypatch.setattr(checkpoints, "_CODE", code)
    before = checkpoints.fingerprint(generator, training_data(checkpoints=tmp_path / "kept"))
    (code / "data/__pycache__").mkdir()
    (code / "data/__pycache__/histories.cpython-312.pyc").write_bytes(b"compiled")
    assert (
        checkpoints.fingerprint(generator, training_data(checkpoints=tmp_path / "kept")) == before
    )
    (code / "data/histories.py").write_text("old = 2\n")
    assert (
        checkpoints.fingerprint(generator, training_data(checkpoints=tmp_path / "kept")) != before
    )


def test_the_second_of_two_processes_draws_by_seed_and_step_however_it_came_there(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    engine = Engine(Hardware(devices=2))

    def drawn(*steps: int, seed: int = 7) -> list[float]:
        state = replace(Toy().start(1.0), seed=seed)
        for step in steps:
            engine.reseed(state, step)
        numbers, noise = (
            state.randoms["numbers"].normal(),
            torch.randn(1, generator=state.randoms["noise"]),
        )
        return [numbers, noise.item(), torch.randn(1).item()]

    assert drawn(5, 10) == drawn(10)
    assert all(one != other for one, other in zip(drawn(5), drawn(10), strict=True))
    assert all(one != other for one, other in zip(drawn(10, seed=8), drawn(10), strict=True))


def test_after_divergence_lower_learning_rates_continue_from_the_last_checkpoint(caplog):
    toy = Toy(loss=lambda step, rate: np.nan if step > 22 and rate > 0.05 else 0.0)
    state, rows = run(toy)
    assert toy.started == [1.0, 0.25]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30, 35, 40], (
        "no row is logged twice"
    )
    assert (
        "step 25: loss is not a number. It is tried again from step 20 with learning rates × 0.25"
        in caplog.text
    )
    assert rows[:4] == run(Toy())[1][:4]
    assert np.isfinite(weights(state)).all()


def test_suspicious_rows_are_logged_once_a_sound_one_follows_or_never():
    def twice(step: int, rate: float) -> dict[str, float]:
        return {"duplicates": float(step == 15 or (step in (25, 30) and rate > 0.05)), "rate": rate}

    _, rows = run(Toy(statistics=twice))
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert [row["rate"] for row in rows] == [0.1] * 4 + [0.025] * 4


def test_when_going_back_does_not_help_training_starts_anew_and_its_rows_replace_the_others():
    logged: list[dict[str, float]] = []
    toy = Toy(
        statistics=lambda step, rate: {"duplicates": float(step > 20 and rate > 0.01), "rate": rate}
    )
    train(toy.start, name="toy", steps=STEPS, log_every=EVERY, data=training_data(logged.append))
    assert toy.started == [1.0, 0.25, 0.0625]
    assert [row["step"] for row in logged] == [*range(5, 21, 5), *range(5, 41, 5)]
    assert {row["rate"] for row in logged[4:]} == {0.1 * 0.0625}


def test_a_retried_training_that_is_interrupted_goes_on_bit_for_bit(tmp_path):
    def planted(stop_at: int | None = None) -> Toy:
        return Toy(
            loss=lambda step, rate: 1e9 if step > 12 and rate > 0.05 else 0.0, stop_at=stop_at
        )

    whole, all_rows = run(planted())
    with pytest.raises(KeyboardInterrupt):
        run(planted(stop_at=31), tmp_path / "kept")
    state, rows = run(planted(), tmp_path / "kept")
    assert weights(state) == weights(whole)
    assert rows == all_rows


def test_a_critic_that_wins_at_the_last_row_makes_lower_learning_rates_continue():
    toy = Toy(
        statistics=lambda step, rate: {
            "critic_wins": 0.99 if step == STEPS and rate > 0.05 else 0.5
        }
    )
    _, rows = run(toy)
    assert toy.started == [1.0, 0.25]
    assert [row["critic_wins"] for row in rows] == [0.5] * 8


@pytest.mark.parametrize("loss", [0.0, np.nan])
def test_the_curve_of_a_refused_training_holds_the_rows_that_showed_why(loss):
    logged: list[dict[str, float]] = []
    toy = Toy(
        statistics=lambda step, rate: {"duplicates": float(step > 20), "rate": rate},
        loss=lambda step, rate: loss if step > 25 else 0.0,
    )
    with pytest.raises(RefusedError):
        train(
            toy.start, name="toy", steps=STEPS, log_every=EVERY, data=training_data(logged.append)
        )
    assert [row["step"] for row in logged][-2:] == [25, 30]
    assert logged[-2]["duplicates"] == 1.0
    assert np.isnan(logged[-1]["loss"]) == np.isnan(loss), (
        "nothing is measured where a loss is not a number"
    )


def test_a_training_that_always_diverges_is_refused_and_says_how_each_time(tmp_path):
    folder, toy = (
        tmp_path / "kept",
        Toy(statistics=lambda step, rate: {"coverage": 1.0 if step < 20 else 0.01}),
    )
    with pytest.raises(RefusedError) as refused:
        run(toy, folder)
    assert toy.started == [1.0, 0.25, 0.0625, 0.015625]
    message = str(refused.value)
    assert "the training of toy diverged 4 times, each time with lower learning rates" in message
    assert message.count("item coverage shrank: 256 synthetic users have 1.0% of the items") == 4
    assert "where: toy, step 25 of 40" in message
    assert "lower generators.toy.learning_rate" in message
    assert not folder.exists(), "the next training does not go on from there"
