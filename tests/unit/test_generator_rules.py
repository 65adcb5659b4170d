"""Settings of generators that are "auto": a set ten times larger is not learnt ten times less."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from augrec.core.component import available
from augrec.core.data_shape import DataShape
from augrec.data.training_data import TrainingData
from augrec.generators.base import find

SHAPE = DataShape(2_000, 3_000, 40_000)
NEURAL = [name for name in available("augrec.generators") if find(name).iterates]


def larger(factor: int) -> DataShape:
    return replace(
        SHAPE, **{key: factor * getattr(SHAPE, key) for key in ("n_users", "n_interactions")}
    )


@pytest.mark.parametrize("name", NEURAL)
def test_ten_times_the_users_are_read_as_often_each_within_bounds(name):
    def passes(factor: int) -> float:
        generator, shape = find(name)(), larger(factor)
        steps = generator.settle(shape)["steps"]
        return steps * generator.config.share_read(shape)

    fewest = find(name).Config.fewest_steps
    least = next(n for n in range(1, 100) if find(name)().settle(larger(n))["steps"] > fewest)
    assert passes(2 * least) == pytest.approx(passes(least), rel=0.15)
    assert find(name)().settle(larger(10_000))["steps"] == 10 * fewest, "time is bounded"
    assert find(name)().settle(replace(SHAPE, n_users=9))["steps"] >= fewest


@pytest.mark.parametrize(
    ("name", "key", "counted"),
    [("latent_gan", "decoder_steps", "n_interactions"), ("item_gan", "item_steps", "n_items")],
)
def test_each_part_of_a_generator_follows_what_it_reads(name, key, counted):
    few, many = 200_000, 400_000
    if counted == "n_items":
        few, many = 4_000, 8_000
    found = [find(name)().settle(replace(SHAPE, **{counted: n}))[key] for n in (few, many)]
    assert found[1] == pytest.approx(2 * found[0], rel=0.1)


@pytest.mark.parametrize("name", NEURAL)
def test_a_number_is_not_replaced(name):
    generator = find(name)({"steps": 30})
    assert "steps" not in generator.settle(larger(10)) and generator.config.steps == 30


def test_a_private_training_takes_steps_by_the_number_of_users_alone():
    """The rest of the data's shape is no public knowledge."""
    private = {"privacy": {"epsilon": 8.0}}
    shapes = [replace(larger(10), n_items=n, n_interactions=7 * n) for n in (50, 90_000)]
    steps = {find("profile_vae")(private).settle(shape)["steps"] for shape in shapes}
    assert len(steps) == 1


def test_a_fitted_generator_keeps_what_auto_was(tmp_path):
    users, items = np.nonzero(np.random.default_rng(3).random((12, 9)) < 0.4)
    rows = pl.DataFrame({"user": users, "item": items}).select(
        user_id=pl.format("u{}", "user"),
        item_id=pl.format("i{}", "item"),
        event=pl.lit("view"),
        value=pl.lit(None, pl.Float32),
        timestamp=pl.lit("2024-05-01").str.to_datetime(time_unit="us", time_zone="UTC"),
        origin=pl.lit("real"),
        weight=pl.lit(1.0, pl.Float32),
    )
    fitted = find("profile_vae")({"hidden": 8}).fit(TrainingData(rows))
    assert fitted.config.steps == find("profile_vae").Config.fewest_steps
    fitted.save(tmp_path / "model")
    assert find("profile_vae").load(tmp_path / "model").config == fitted.config
