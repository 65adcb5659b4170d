"""The profile GAN under guard: planted failures are seen, ordinary trainings are left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from augrec.core.errors import ConfigError, RefusedError
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators._profile import networks
from augrec.generators._training import adversarial
from augrec.generators._training.monitor import CRITIC_WINS
from augrec.generators.profile_gan import ProfileGan

TINY: dict[str, Any] = {"steps": 80, "batch_size": 32, "hidden": 32, "noise": 8, "log_every": 10}


def tastes(n_users: int = 400, kinds: int = 4, each: int = 40, seed: int = 0) -> pl.DataFrame:
    """People who have 4 to 19 items of one of a few separate shelves."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user:04}", f"i{user % kinds * each + item:03}")
        for user in range(n_users)
        for item in rng.choice(each, rng.integers(4, 20), replace=False)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("view"),
        value=pl.lit(None),
        timestamp=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS))


def fit(
    table: pl.DataFrame | None = None, seed: int = 1, **config: Any
) -> tuple[ProfileGan, pl.DataFrame]:
    rows: list[dict[str, float]] = []
    gan = ProfileGan(TINY | config, seed=seed)
    gan.fit(TrainingData(tastes() if table is None else table, log=rows.append))
    return gan, pl.DataFrame(rows)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"loss": "wasserstein", "penalty": 10.0, "critic_steps": 3},
        {"critic_steps": 10, "steps": 40},
        {"packing": 4, "feature_matching": 1.0},
        {"learning_rate": 0.01},
    ],
)
def test_an_ordinary_training_is_left_alone(config, caplog):
    for seed in (1, 2):
        _, curve = fit(seed=seed, **config)
        assert curve["step"][-1] == (TINY | config)["steps"]
    assert "tried again" not in caplog.text


@pytest.mark.parametrize("n_users", [2, 3, 12])
def test_few_users_are_no_collapse(n_users, caplog):
    fit(tastes(n_users, kinds=1), steps=60)
    assert "tried again" not in caplog.text


@pytest.fixture
def rigged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that is rewarded for the same dozen items, whatever the noise, against a critic
    that does not learn."""

    def reward(
        loss: Any, critic: Any, real: torch.Tensor, fake: torch.Tensor, condition: Any
    ) -> torch.Tensor:
        return fake[:, 12:].sum(dim=1).mean() - fake[:, :12].sum(dim=1).mean()

    def guess(loss: Any, critic: Any, *_: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        weight = next(critic.parameters()).sum()
        return 0.0 * weight, {CRITIC_WINS: torch.tensor(0.5)}

    monkeypatch.setattr(adversarial, "generator_loss", reward)
    monkeypatch.setattr(adversarial, "critic_loss", guess)


def test_a_generator_that_collapses_at_every_attempt_is_refused(rigged):
    with pytest.raises(
        RefusedError, match=r"(?s)diverged 4 times.*lower generators.profile_gan.learning_rate"
    ) as refused:
        fit(learning_rate=20.0)
    told = str(refused.value)
    assert told.count("near copies of each other") + told.count("item coverage shrank") == 4


def test_a_collapse_that_lower_learning_rates_prevent_is_recovered_from(rigged, caplog):
    gan, curve = fit(learning_rate=0.3)
    assert "near copies of each other" in caplog.text or "item coverage shrank" in caplog.text
    assert "It is tried again from step 0 with learning rates × 0.0625" in caplog.text
    assert gan.sample(256)["item_id"].n_unique() > 80, "more than half of the catalogue"
    assert curve["coverage"][-1] > 0.5


def test_a_critic_that_wins_outright_is_seen(caplog):
    with pytest.raises(
        RefusedError, match=r"the critic wins outright: it is \d+\.\d% sure which profiles are real"
    ):
        fit(critic_steps=20, penalty=0.0, learning_rate=0.05, steps=60, log_every=5)


def test_a_wasserstein_critic_may_win_for_long(caplog):
    _, curve = fit(
        loss="wasserstein", critic_steps=20, penalty=0.0, learning_rate=0.01, steps=60, log_every=5
    )
    assert curve["critic_leads"].max() > 0.95
    assert "wins outright" not in caplog.text


def test_numbers_that_break_are_seen_at_once(monkeypatch, caplog):
    taken = []

    def breaks(*args: Any) -> torch.Tensor:
        taken.append(1)
        return sound(*args) * (float("nan") if len(taken) == 33 else 1.0)

    sound = adversarial.generator_loss
    monkeypatch.setattr(adversarial, "generator_loss", breaks)
    _, curve = fit()
    assert (
        "is not a number. It is tried again from step 30 with learning rates × 0.25" in caplog.text
    )
    assert curve["step"].to_list() == [10, 20, 30, 40, 50, 60, 70, 80]
    assert curve.select(pl.all().is_finite().all()).row(0) == (True,) * len(curve.columns)


def test_a_packed_critic_sees_that_profiles_are_alike():
    torch.manual_seed(0)
    critic = networks.ProfileCritic(1, 32, 20, packing=2)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    condition = torch.zeros(64, 1)

    def scores() -> tuple[torch.Tensor, torch.Tensor]:
        """Of pairs of different people, and of pairs of the same."""
        people = torch.nn.functional.one_hot(torch.randint(0, 20, (64,)), 20).float()
        return critic(people, condition), critic(people[::2].repeat_interleave(2, 0), condition)

    for _ in range(200):
        different, same = scores()
        optimizer.zero_grad()
        torch.nn.functional.softplus(same - different).mean().backward()
        optimizer.step()
    different, same = scores()
    assert different.shape == (32,)
    assert different.mean() > same.mean() + 2


def test_features_that_agree_have_no_distance_and_others_pull_the_profiles():
    torch.manual_seed(0)
    critic, condition = networks.ProfileCritic(1, 16, 12), torch.zeros(8, 1)
    real = (torch.rand(8, 12) < 0.3).float()
    assert networks.feature_distance(critic, real, real, condition) == 0.0
    fake = (torch.rand(8, 12) < 0.7).float().requires_grad_()
    networks.feature_distance(critic, real, fake, condition).backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0


def test_packs_must_be_whole():
    with pytest.raises(ConfigError, match="packing 3 does not divide batch_size 32"):
        ProfileGan(TINY | {"packing": 3})


@pytest.mark.parametrize("packing", [1, 4])
def test_the_critic_finds_strange_profiles_less_real(packing):
    table = tastes()
    gan, _ = fit(table, steps=300, log_every=100, packing=packing, learning_rate=3e-3)
    rng = np.random.default_rng(3)
    mixed = tastes(100, seed=9).with_columns(  # as long as those of people, but from all shelves
        pl.Series(
            "item_id", [f"i{item:03}" for item in rng.integers(0, 160, len(tastes(100, seed=9)))]
        ),
        ("x" + pl.col("user_id")).alias("user_id"),
    )
    found = gan.realness(pl.concat([tastes(100, seed=8), mixed.unique(["user_id", "item_id"])]))
    assert found["user_id"].is_sorted()
    odd = found["user_id"].str.starts_with("x")
    people, strange = found.filter(~odd)["realness"], found.filter(odd)["realness"]
    better = (people.to_numpy()[:, None] > strange.to_numpy()[None]).mean()
    assert better > 0.7, "guessing gives 0.5"
