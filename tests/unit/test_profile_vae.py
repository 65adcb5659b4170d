"""The profile VAE: planted tastes come back, and no user's profile does."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import ConfigError
from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators import base

START = datetime(2024, 1, 1, tzinfo=UTC)
LEARNING = {"steps": 150, "batch_size": 64, "hidden": 32, "latent": 4, "learning_rate": 0.01}


def table(profiles: list[np.ndarray]) -> pl.DataFrame:
    rows = [(f"u{user:03}", f"i{item:03}") for user, items in enumerate(profiles) for item in items]
    made = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("view"),
        value=pl.lit(None),
        timestamp=pl.lit(START),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    return made.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)).sort("user_id")


def tastes(n_users: int = 120) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half the people want the first half of 40 items, half the second; their attribute tells."""
    rng = np.random.default_rng(5)
    made = table([rng.choice(20, 8, replace=False) + user % 2 * 20 for user in range(n_users)])
    users = pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in range(n_users)],
            "taste": ["high" if user % 2 else "low" for user in range(n_users)],
        }
    )
    return made, users


def individuals(n_users: int = 60) -> pl.DataFrame:
    """Every user has ten of 200 items that no other user is likely to choose."""
    rng = np.random.default_rng(6)
    return table([rng.choice(200, 10, replace=False) for _ in range(n_users)])


def vae(config: dict, *args, seed: int = 1, **tables):
    return base.find("profile_vae")({**LEARNING, **config}, seed=seed).fit(
        TrainingData(*args, **tables)
    )


def high_shares(sample: pl.DataFrame) -> np.ndarray:
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    return sample.group_by("user_id").agg((item >= 20).mean().alias("share"))["share"].to_numpy()


def profiles_of(sample: pl.DataFrame) -> list[set[str]]:
    return [set(items) for items in sample.group_by("user_id").agg("item_id")["item_id"]]


def likeness(sample: pl.DataFrame, real: pl.DataFrame) -> np.ndarray:
    """Jaccard similarity of each synthetic user to the nearest real one."""
    people = profiles_of(real)
    return np.array(
        [
            max(len(one & other) / len(one | other) for other in people)
            for one in profiles_of(sample)
        ]
    )


@pytest.fixture(scope="module", params=["prior", "posterior"])
def tasteful(request):
    made, users = tastes()
    return vae({"sampling": request.param}, made, users=users)


def test_items_that_go_together_are_drawn_together(tasteful):
    shares = high_shares(tasteful.sample(100))
    assert np.maximum(shares, 1 - shares).mean() > 0.85, (
        "items drawn independently would give about 0.63"
    )
    assert 0.2 < (shares > 0.5).mean() < 0.8, "both tastes must live on"


def test_users_of_a_group_have_the_taste_of_the_group(tasteful):
    assert high_shares(tasteful.sample(60, condition={"taste": "high"})).mean() > 0.85
    assert high_shares(tasteful.sample(60, condition={"taste": "low"})).mean() < 0.15


def test_taste_is_learnt_from_the_items_alone_where_no_attribute_tells():
    made, _ = tastes()
    shares = high_shares(vae({}, made).sample(100))
    assert np.maximum(shares, 1 - shares).mean() > 0.8
    assert 0.2 < (shares > 0.5).mean() < 0.8


def test_the_elbo_falls_and_the_code_is_used():
    rows = []
    made, _ = tastes()
    vae({"log_every": 25}, made, log=rows.append)
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert rows[-1]["kl"] > 0.3, "one bit of taste is 0.69 nats"


def test_a_usual_profile_looks_more_real_than_an_odd_one(tasteful):
    rng = np.random.default_rng(0)
    usual = [rng.choice(20, 8, replace=False) + n % 2 * 20 for n in range(20)]
    odd = [rng.choice(40, 8, replace=False) for _ in range(20)]
    scores = tasteful.realness(table([*usual, *odd]))
    assert scores["user_id"].to_list() == [f"u{n:03}" for n in range(40)]
    assert scores["realness"].dtype == pl.Float32
    assert scores["realness"][:20].min() > scores["realness"][20:].median()


def test_the_further_from_posteriors_the_less_of_anybody_is_published():
    real = individuals()
    knowing = {
        "dropout": 0.0,
        "beta": 0.01,
        "steps": 300,
        "hidden": 64,
        "latent": 32,
        "sampling": "posterior",
    }
    near = {
        closeness: likeness(vae({**knowing, "closeness": closeness}, real).sample(100), real).mean()
        for closeness in (1.0, 0.5, 0.0)
    }
    prior = likeness(vae({**knowing, "sampling": "prior"}, real).sample(100), real).mean()
    assert near[1.0] > near[0.5] + 0.1 > near[0.0] + 0.1
    assert near[0.0] == pytest.approx(prior, abs=0.05), "at 0 the posterior is forgotten"


def test_no_users_profile_is_published_by_default():
    real = individuals()
    for sampling in ("prior", "posterior"):
        assert likeness(vae({"sampling": sampling}, real).sample(200), real).max() < 0.7


def test_codes_are_kept_for_posterior_sampling_alone_and_under_no_id(tmp_path):
    made, users = tastes()
    for sampling in ("prior", "posterior"):
        generator = vae({"sampling": sampling, "steps": 5}, made, users=users)
        assert ("code_mean" in generator._state()) == (sampling == "posterior")
        generator.save(tmp_path / sampling)
        assert base.load(tmp_path / sampling).sample(9, seed=2).equals(generator.sample(9, seed=2))
    stored = b"".join(path.read_bytes() for path in (tmp_path / "posterior").iterdir())
    assert b"u001" not in stored


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    made, users = tastes()
    config = {"steps": 30, "log_every": 10, "sampling": "posterior"}
    whole = vae(config, made, users=users)

    def interrupt(row):
        if row["step"] == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vae(config, made, users=users, checkpoints=tmp_path / "state", log=interrupt)
    resumed = vae(config, made, users=users, checkpoints=tmp_path / "state")
    assert resumed.sample(50).equals(whole.sample(50))


def test_an_unknown_way_of_sampling_is_refused():
    with pytest.raises(ConfigError, match="sampling"):
        base.find("profile_vae")({"sampling": "guess"})
