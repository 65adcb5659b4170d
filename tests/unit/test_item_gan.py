"""Interactions for new items: they go to those who like what is written about them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.errors import InputError
from augrec.data.columns import INTERACTIONS
from augrec.data.histories import ItemIndex
from augrec.data.training_data import TrainingData
from augrec.generators._latent.item_content import ItemContent, main_directions
from augrec.generators.base import Generator, find, load
from augrec.generators.item_gan import Ridge
from augrec.recommenders.base import find as find_recommender

HALF, N_NEW = 60, 20
KINDS = ["horror", "romance"]
START = datetime(2024, 1, 1, tzinfo=UTC)


def shop(n_users: int = 240) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half the people want horror, half romance; of each kind 10 further items are in the table and
    nobody met them."""
    draw = np.random.default_rng(5)
    rows = [
        (f"u{user:03}", f"i{item + user % 2 * HALF:03}", START + timedelta(hours=user + at))
        for user in range(n_users)
        for at, item in enumerate(draw.choice(HALF, draw.integers(8, 20), replace=False))
    ]
    table = pl.DataFrame(
        rows, schema=["user_id", "item_id", "timestamp"], orient="row"
    ).with_columns(
        event=pl.lit("view"), value=pl.lit(None), origin=pl.lit("real"), weight=pl.lit(1.0)
    )
    old = [(f"i{item:03}", KINDS[item // HALF]) for item in range(2 * HALF)]
    new = [(f"new{item:02}", KINDS[item % 2]) for item in range(N_NEW)]
    items = pl.DataFrame(
        {
            "item_id": [item for item, _ in old + new],
            "title": [f"A {kind} called {draw.integers(5)}" for _, kind in old + new],
            "categories": [[kind] for _, kind in old + new],
        }
    )
    return table.select(list(INTERACTIONS)).cast(dict(INTERACTIONS)), items


CONFIG = {
    "factors": 4,
    "steps": 200,
    "item_steps": 60,
    "batch_size": 64,
    "hidden": 32,
    "noise": 8,
    "decoder_steps": 100,
    "calibration_users": 512,
    "drawings": 4,
}


@pytest.fixture(
    scope="module", params=[1000, 16], ids=["decoded in full", "decoded class by class"]
)
def fitted(request) -> Generator:
    table, items = shop()
    return find("item_gan")({**CONFIG, "max_full_items": request.param}, seed=1).fit(
        TrainingData(table, items=items)
    )


def judged(sample: pl.DataFrame) -> pl.DataFrame:
    """Every row with whether its item is new and whether it is a horror story."""
    number = pl.col("item_id").str.extract(r"(\d+)").cast(pl.Int32)
    new = pl.col("item_id").str.starts_with("new")
    horror = pl.when(new).then(number % 2 == 0).otherwise(number < HALF)
    return sample.with_columns(new=new, horror=horror)


def test_new_items_go_to_those_who_like_their_kind(fitted):
    sample = judged(fitted.sample(400))
    taste = (
        sample.filter(~pl.col("new")).group_by("user_id").agg(likes=pl.col("horror").mean() > 0.5)
    )
    met = sample.filter("new").join(taste, on="user_id")
    assert met.select((pl.col("horror") == pl.col("likes")).mean()).item() > 0.8, (
        "blindly it would be 0.5"
    )


def test_new_items_are_drawn_about_as_often_as_known_ones(fitted):
    share = judged(fitted.sample(400))["new"].mean()
    assert 0.5 < share / (N_NEW / (2 * HALF + N_NEW)) < 2.0
    assert judged(fitted.sample(400)).filter("new")["item_id"].n_unique() == N_NEW


def test_a_boost_makes_new_items_more_frequent():
    table, items = shop()
    shares = [
        judged(
            find("item_gan")({**CONFIG, "boost": boost}, seed=1)
            .fit(TrainingData(table, items=items))
            .sample(200)
        )["new"].mean()
        for boost in (0.3, 3.0)
    ]
    assert shares[1] > 3 * shares[0]


def test_new_items_come_last_in_a_history(fitted):
    order = judged(fitted.sample(100)).select(
        "user_id", is_sorted=(pl.col("new").cast(pl.Int8).diff().over("user_id").fill_null(0) >= 0)
    )
    assert order["is_sorted"].all()


def test_a_collaborative_recommender_can_rank_new_items_by_taste(fitted):
    table, _ = shop()
    model = find_recommender("ials")({"factors": 8, "popularity_blend": 0.0}).fit(
        TrainingData(pl.concat([table, fitted.sample(480)]))
    )
    new = np.char.startswith(model.items.ids, "new")
    histories = pl.Series(
        [[f"i{item:03}" for item in range(start, start + HALF, 5)] for start in (0, HALF)]
    )
    ranked, _ = model.rank(histories, 5, among=new)
    even = [[int(item[3:]) % 2 == 0 for item in model.items.ids[row]] for row in ranked]
    assert np.mean(even[0]) - np.mean(even[1]) > 0.4, "blindly it would be 0"


def test_the_sample_names_its_new_items_and_the_audit_takes_them_alone(fitted):
    table, items = shop()
    sample = fitted.sample(240)
    assert set(fitted.facts()["new_items"]) == {f"new{item:02}" for item in range(N_NEW)}
    held_out = pl.DataFrame(schema={"user_id": pl.String, "role": pl.String})

    def audit(facts: dict[str, object]) -> dict[str, object]:
        evidence = AuditInputs(table, table, held_out, None, None, items=items, sample_facts=facts)
        return audit_sample(sample, evidence, AuditConfig(), generator="item_gan", seed=1)[0]

    assert audit(fitted.facts())["fidelity"]["popularity_correlation"] is not None
    with pytest.raises(InputError, match="no training user touched"):
        audit({})
    with pytest.raises(InputError, match="no training user touched"):
        audit({"new_items": ["new00"]})


def test_a_loaded_generator_draws_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    assert load(tmp_path / "model").sample(50, seed=4).equals(fitted.sample(50, seed=4))


def test_without_words_there_are_no_new_items_and_that_is_said(caplog):
    table, items = shop()
    silent = items.select("item_id", title=pl.lit(None, dtype=pl.String))
    sample = (
        find("item_gan")({**CONFIG, "steps": 5}).fit(TrainingData(table, items=silent)).sample(50)
    )
    assert set(sample["item_id"]) <= set(table["item_id"])
    assert "there are no new items: no word describes any item" in caplog.text


def test_the_curve_tells_how_far_apart_new_items_lie_and_that_all_at_one_place_do_not(fitted):
    residuals, content = torch.randn(50, 5) * 2 + 30, torch.zeros(50, fitted.content.known.shape[1])
    assert fitted._item_statistics(fitted.item_network, residuals, content)["spread"] > 0.02
    with torch.no_grad():
        one_place = copy.deepcopy(fitted.item_network)
        one_place.layers[-1].weight.zero_()
        one_place.layers[-1].bias.copy_(torch.linspace(-9, 9, 5))
    assert fitted._item_statistics(one_place, residuals, content)["spread"] < 1e-3


def test_content_keeps_what_tells_items_apart():
    table, items = shop()
    content = ItemContent.of(
        table, items, ItemIndex(table["item_id"]), directions=3, max_new_items=100, seed=0
    )
    assert content.known.shape == (2 * HALF, 3) and content.new.shape == (N_NEW, 3)
    kinds = np.array([int(item[3:]) % 2 for item in content.new_ids])
    near = np.linalg.norm(content.new[:, None] - content.known, axis=2).argmin(axis=1)
    assert ((near >= HALF) == kinds).all()


def test_main_directions_are_those_of_the_singular_value_decomposition():
    columns = sp.random_array((60, 25), density=0.3, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = columns @ sp.diags_array(0.6 ** np.arange(25, dtype=np.float32))
    left, sizes, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    expected = left[:, :4] * (sizes[:4] / sizes[0]) * np.sqrt(60)
    found = main_directions(sp.csr_matrix(matrix), 4, 0)
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-3)


def test_ridge_learns_what_can_be_learnt_and_leaves_noise_alone():
    draw = np.random.default_rng(0)
    given = torch.as_tensor(draw.normal(size=(300, 5)).astype(np.float32))
    noise = torch.as_tensor(draw.normal(size=(300, 2)).astype(np.float32))
    targets = torch.stack(
        [given @ torch.tensor([1.0, 2, 0, 0, 0]) + 3 + 0.1 * noise[:, 0], noise[:, 1]], dim=1
    )
    ridge, residuals = Ridge.fit(given, targets, 0)
    assert (ridge.predict(given)[:, 0] - targets[:, 0]).std() < 0.15
    assert residuals[:, 0].std() < 0.15
    assert ridge.predict(given)[:, 1].std() < 0.2, "there is nothing to learn"
    assert residuals[:, 1].std() == pytest.approx(1.0, abs=0.1)
