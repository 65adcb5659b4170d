"""The latent GAN: large catalogues class by class, tastes, attributes, popularity."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch

from augrec.data.columns import INTERACTIONS
from augrec.data.training_data import TrainingData
from augrec.generators._latent.item_decoder import ItemDecoder, item_classes
from augrec.generators._latent.user_space import UserSpace, Whitening
from augrec.generators.base import Generator, find, load

N_ITEMS = 37


def decoder(n_items: int = N_ITEMS, max_full_items: int = 8) -> ItemDecoder:
    random = np.random.default_rng(0)
    vectors = torch.as_tensor(random.normal(size=(n_items, 4)).astype(np.float32))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ItemDecoder(
            vectors,
            random.integers(1, 9, n_items).astype(float),
            3,
            item_classes(vectors, max_full_items),
        )


def chances(of: ItemDecoder, latent: torch.Tensor) -> np.ndarray:
    losses = [of.loss(latent, torch.tensor([item])).item() for item in range(len(of.vectors))]
    return np.exp(-np.array(losses))


LATENT = torch.tensor([[0.5, -1.0, 0.3]])


def random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("max_full_items", [8, 1000])
def test_chances_of_all_items_sum_to_one(max_full_items):
    assert chances(decoder(max_full_items=max_full_items), LATENT).sum() == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize("max_full_items", [8, 1000])
def test_items_are_drawn_without_replacement_in_proportion_to_their_chances(max_full_items):
    of, n = decoder(max_full_items=max_full_items), 60_000
    drawn = of.draw(LATENT.expand(n, 3), np.full(n, 2), random()).reshape(n, 2)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    first = chances(of, LATENT)
    others = np.where(np.eye(N_ITEMS, dtype=bool), 0.0, first / (1 - first)[:, None])
    for column, expected in ((0, first), (1, first @ others)):
        found = np.bincount(drawn[:, column], minlength=N_ITEMS) / n
        assert (np.abs(found - expected) / np.sqrt(expected * (1 - expected) / n)).max() < 4.5


def test_a_user_with_the_whole_catalogue_and_one_with_a_single_item_fit_together():
    drawn = decoder().draw(LATENT.expand(3, 3), np.array([N_ITEMS, 1, 5]), random())
    assert sorted(drawn[:N_ITEMS]) == list(range(N_ITEMS))
    assert len(drawn) == N_ITEMS + 6


def test_classes_hold_every_item_once_and_are_of_equal_size():
    classes = item_classes(
        torch.as_tensor(np.random.default_rng(1).normal(size=(5000, 3)).astype(np.float32)), 100
    )
    assert sorted(classes[classes >= 0]) == list(range(5000))
    sizes = (classes >= 0).sum(axis=1)
    assert sizes.max() - sizes.min() <= 1
    assert classes.shape[1] < 2 * np.sqrt(5000), (
        "or drawing would cost as much as the whole catalogue"
    )


def test_calibration_moves_items_to_how_often_they_were_met():
    of, n = decoder(), 4000
    wanted = np.linspace(1, 20, N_ITEMS)

    def gap() -> float:
        drawn = np.bincount(
            of.draw(LATENT.expand(n, 3), np.full(n, 1), random()), minlength=N_ITEMS
        )
        of.calibrate(drawn, wanted, 1.0)
        return float(np.abs(drawn / drawn.sum() - wanted / wanted.sum()).sum())

    gaps = [gap() for _ in range(5)]
    assert gaps[-1] < 0.2 * gaps[0]


@pytest.mark.parametrize("max_full_items", [8, 1000])
def test_added_items_leave_the_odds_between_the_others_as_they_were(max_full_items):
    of = decoder(max_full_items=max_full_items)
    before = chances(of, LATENT)
    after = chances(of.with_items(torch.ones(5, 4), torch.zeros(5)), LATENT)
    assert after.sum() == pytest.approx(1, abs=1e-5)
    assert 0 < after[N_ITEMS:].sum() < 0.9
    assert after[:N_ITEMS] / after[:N_ITEMS].sum() == pytest.approx(before, rel=1e-3)


def test_whitened_vectors_have_unit_covariance_and_come_back():
    vectors = torch.as_tensor(
        np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    ) @ torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 2.0]])
    whitening = Whitening.of(vectors)
    whitened = whitening.whiten(vectors)
    assert (torch.cov(whitened.T, correction=0) - torch.eye(3)).abs().max() < 1e-3
    assert (whitening.restore(whitened) - vectors).abs().max() < 1e-4


def two_tastes(n_users: int = 200, n_items: int = 120) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half the people want the first half of the catalogue, half the second, each by popularity;
    their attribute tells."""
    draw, half = np.random.default_rng(5), n_items // 2
    shares = 1 / np.arange(1, half + 1) ** 0.7
    rows = [
        (f"u{user:03}", f"i{item + user % 2 * half:03}")
        for user in range(n_users)
        for item in draw.choice(half, draw.integers(5, 15), replace=False, p=shares / shares.sum())
    ]
    table = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(
        event=pl.lit("view"),
        value=pl.lit(None),
        timestamp=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)),
        origin=pl.lit("real"),
        weight=pl.lit(1.0),
    )
    users = pl.DataFrame(
        {
            "user_id": [f"u{u:03}" for u in range(n_users)],
            "taste": ["high" if u % 2 else "low" for u in range(n_users)],
        }
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)), users


CONFIG = {
    "factors": 4,
    "steps": 300,
    "batch_size": 64,
    "hidden": 32,
    "noise": 8,
    "decoder_steps": 100,
    "calibration_users": 512,
}


def test_users_vectors_are_as_long_in_a_catalogue_ten_times_as_large():
    def longest(n_users: int) -> float:
        draw = np.random.default_rng(1)
        rows = pl.DataFrame(
            {
                "user": draw.integers(0, n_users, 8 * n_users),
                "item": draw.integers(0, 5 * n_users, 8 * n_users),
            }
        )
        rows = rows.unique().select(
            user_id=pl.format("u{}", "user"), item_id=pl.format("i{}", "item")
        )
        space, _, _ = UserSpace.learn(rows, {"factors": 8}, 5.0, 1, torch.device("cpu"))
        return float(space.item_vectors.abs().mean())

    assert longest(4000) == pytest.approx(longest(400), rel=0.5)


@pytest.fixture(
    scope="module", params=[1000, 16], ids=["decoded in full", "decoded class by class"]
)
def tasteful(request) -> Generator:
    table, users = two_tastes()
    return find("latent_gan")({**CONFIG, "max_full_items": request.param}, seed=1).fit(
        TrainingData(table, users=users)
    )


def high_share(sample: pl.DataFrame) -> pl.Series:
    item = pl.col("item_id").str.slice(1).cast(pl.Int32)
    return sample.group_by("user_id").agg((item >= 60).mean().alias("share"))["share"]


def test_it_learns_which_items_go_together(tasteful):
    shares = high_share(tasteful.sample(200)).to_numpy()
    assert np.maximum(shares, 1 - shares).mean() > 0.85, (
        "items drawn independently would give about 0.63"
    )
    assert 0.3 < (shares > 0.5).mean() < 0.7, "both tastes must live on"


def test_users_have_the_taste_of_their_attributes(tasteful):
    assert high_share(tasteful.sample(60, condition={"taste": "high"})).mean() > 0.8
    assert high_share(tasteful.sample(60, condition={"taste": "low"})).mean() < 0.2


def test_popular_items_stay_popular(tasteful):
    real = two_tastes()[0]
    counts = [
        np.bincount(tasteful.items.encode(part["item_id"]), minlength=120)
        for part in (real, tasteful.sample(400))
    ]
    assert np.corrcoef(*counts)[0, 1] > 0.9


def test_the_critic_scores_users_of_one_taste_above_users_of_both(tasteful, tmp_path):
    real = two_tastes()[0].with_columns(origin=pl.lit("latent_gan"))
    mixed = real.with_columns(pl.col("item_id").shuffle(seed=1)).unique(["user_id", "item_id"])
    judged = [tasteful.realness(table)["realness"].mean() for table in (real, mixed)]
    assert judged[0] > judged[1]
    tasteful.save(tmp_path / "model")
    assert load(tmp_path / "model").realness(real).equals(tasteful.realness(real))


def test_an_interrupted_training_goes_on_to_the_same_generator(tmp_path):
    table, users = two_tastes()
    config = {**CONFIG, "steps": 20, "log_every": 5}

    class Killed(Exception):
        pass

    def kill(row):
        if row["step"] >= 10:
            raise Killed

    whole = find("latent_gan")(config, seed=1).fit(TrainingData(table, users=users))
    with pytest.raises(Killed):
        find("latent_gan")(config, seed=1).fit(
            TrainingData(table, users=users, checkpoints=tmp_path, log=kill)
        )
    assert list(tmp_path.rglob("*.safetensors"))
    again = find("latent_gan")(config, seed=1).fit(
        TrainingData(table, users=users, checkpoints=tmp_path)
    )
    assert again.sample(20).equals(whole.sample(20))
