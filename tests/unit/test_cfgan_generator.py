"""CFGAN as a generator: people near a beginning, told apart by noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from augrec.core.errors import ConfigError
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators._training.monitor import CRITIC_LEADS
from augrec.generators.base import Generator, find
from augrec.nn.cfgan import AdversarialConfig, AdversarialTrainer, CfganCritic, CfganGenerator
from augrec.nn.profile_batches import ProfileBatch

N_ITEMS = 40


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Even users have 6 or 10 of the 20 even items, odd users as many of the odd ones."""
    random = np.random.default_rng(3)
    rows = [
        (f"u{user:03}", f"i{2 * item + user % 2:02}")
        for user in range(120)
        for item in random.choice(N_ITEMS // 2, 6 + 4 * (user % 3 == 0), replace=False)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("view"),
        value=pl.lit(None),
        timestamp=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    config = {
        "hidden": 32,
        "critic_hidden": 16,
        "noise": 8,
        "steps": 200,
        "log_every": 100,
        "batch_size": 60,
        "learning_rate": 0.005,
        "zero_weight": 0.5,
        "partial_masking": 0.3,
    }
    return find("cfgan")(config, seed=2).fit(
        TrainingData(table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)))
    )


@pytest.mark.parametrize(("slope", "leads"), [(9.0, 1.0), (0.0, 0.5), (-9.0, 0.0)])
def test_the_guard_sees_how_sure_the_critic_is(slope, leads):
    rules, x = AdversarialConfig(partial_masking=0.0), torch.ones(4, N_ITEMS)
    critic = CfganCritic(N_ITEMS, 4)
    for layer, weight in ((critic.known, 0.0), (critic.shown, 1.0), (critic.output, slope)):
        nn.init.constant_(layer.weight, weight)  # it adds up the profile that it is shown
    told = AdversarialTrainer(CfganGenerator(N_ITEMS, rules), critic, rules).step(
        ProfileBatch(x, x, x, x.mean(1))
    )
    assert told[CRITIC_LEADS].item() == pytest.approx(leads, abs=1e-3)


def odd_shares(sample: pl.DataFrame) -> np.ndarray:
    """Of each person's items, the share of odd ones."""
    odd = pl.col("item_id").str.slice(1).cast(pl.Int32) % 2 == 1
    return sample.group_by("user_id").agg(odd.mean().alias("share"))["share"].to_numpy()


def profiles(sample: pl.DataFrame) -> list[frozenset[str]]:
    return [
        frozenset(items) for items in sample.group_by("user_id").agg("item_id")["item_id"].to_list()
    ]


def test_users_keep_one_taste_and_both_tastes_are_generated(generator):
    shares = odd_shares(generator.sample(200))
    assert np.maximum(shares, 1 - shares).mean() > 0.75, (
        "drawn independently it would be about 0.63"
    )
    assert 0.2 < (shares > 0.5).mean() < 0.8


def test_who_begins_with_asked_for_items_goes_on_in_their_taste(generator):
    sample = generator.sample(50, condition={"items": ["i03", "i21"]})
    assert all({"i03", "i21"} <= profile for profile in profiles(sample))
    assert odd_shares(sample).mean() > 0.75


def test_one_seed_item_gives_different_users_of_real_lengths(generator):
    found = profiles(generator.sample(50, condition={"items": "i03", "length": "6"}))
    assert {len(profile) for profile in found} == {6}
    assert len(set(found)) > 45


def test_an_item_without_interactions_is_no_seed_item(generator):
    with pytest.raises(ConfigError, match="i99"):
        generator.sample(5, condition={"items": ["i03", "i99"]})
