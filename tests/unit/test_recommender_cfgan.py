"""CFGAN: what the critic is shown, what weights do, what noise does, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.cfgan import (
    AdversarialConfig,
    AdversarialTrainer,
    CfganCritic,
    CfganGenerator,
    merged,
    split,
)
from augrec.nn.profile_batches import ProfileBatch
from augrec.recommenders.base import find
from augrec.recommenders.cfgan import Cfgan

N_USERS, N_ITEMS = 100, 40
QUICK: dict[str, Any] = {
    "hidden": 32,
    "critic_hidden": 16,
    "noise": 8,
    "steps": 150,
    "eval_every": 150,
    "batch_size": 50,
    "learning_rate": 0.005,
    "truncate": 0.0,
    "zero_weight": 0.5,
    "partial_masking": 0.3,
}


def tastes(users: int = N_USERS) -> pl.DataFrame:
    """Even users have 8 of the 20 even items, odd users 8 of the odd ones."""
    random = np.random.default_rng(3)
    rows = [
        (f"u{user:02}", f"i{2 * item + user % 2:02}")
        for user in range(users)
        for item in random.choice(N_ITEMS // 2, 8, replace=False)
    ]
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


def fit(**config: Any) -> Cfgan:
    fitted = find("cfgan")(QUICK | config, seed=5).fit(TrainingData(tastes()))
    assert isinstance(fitted, Cfgan)
    return fitted


@pytest.fixture(scope="module")
def fitted() -> Cfgan:
    return fit()


def profiles(recommender: Cfgan, draws: int) -> np.ndarray:
    """What is written for an even and an odd user under so many draws of noise: (draws, 2,
    n_items)."""
    lists = pl.Series([[f"i{2 * item + user:02}" for item in range(4)] for user in (0, 1)])
    seen = torch.from_numpy(Histories.from_lists(lists, recommender.items).matrix().toarray())
    torch.manual_seed(0)
    network = recommender._network.train()
    network.dropout = 0.0
    with torch.no_grad():
        found = [network.twins(seen).sigmoid() for _ in range(draws // 2)]
    return torch.cat(found).numpy()


def test_users_get_items_of_their_taste(fitted):
    items, _ = fitted.recommend(pl.Series([["i00", "i08", "i16"], ["i01", "i09", "i17"]]), 10)
    own = np.array(
        [[int(item[1:]) % 2 == taste for item in row] for taste, row in enumerate(items)]
    )
    assert own.mean() > 0.9, "half of the catalogue is of either taste"


def test_noise_gives_different_users_of_the_same_taste(fitted):
    found = profiles(fitted, 40)
    varied = np.abs(found[::2] - found[1::2]).sum(2) / (found[::2] + found[1::2]).sum(2)
    assert varied.mean() > 0.1
    own = np.arange(N_ITEMS) % 2 == np.arange(2)[:, None]
    assert (found * own).sum(2).mean() > 0.7 * found.sum(2).mean(), (
        "half of the catalogue is of either taste"
    )


def test_left_to_itself_the_generator_heeds_the_noise_less(fitted):
    assert profiles(fit(variety=0.0), 20).std(0).mean() < 0.6 * profiles(fitted, 20).std(0).mean()


def test_scores_do_not_depend_on_any_draw(fitted):
    asked = pl.Series([["i00", "i08"], ["i01"]])
    torch.manual_seed(1)
    first = fitted.recommend(asked, 5)[1]
    torch.manual_seed(2)
    assert (fitted.recommend(asked, 5)[1] == first).all()


def elsewhere(recommender: Cfgan) -> float:
    """How likely items of the other taste are."""
    other = np.arange(N_ITEMS) % 2 != np.arange(2)[:, None]
    return float(profiles(recommender, 20)[:, other].mean())


@pytest.fixture(scope="module")
def everything() -> float:
    """As `elsewhere`, where nothing speaks for zero."""
    return elsewhere(fit(zero_reconstruction=0.0, partial_masking=0.0))


@pytest.mark.parametrize("given", [{"zero_reconstruction": 0.0}, {"partial_masking": 0.0}, {}])
def test_masking_and_zero_reconstruction_each_keep_the_answer_from_being_everything(
    given, everything
):
    assert elsewhere(fit(**given)) < 0.6 * everything


def roles(weights: list[float], **config: float) -> tuple[torch.Tensor, ...]:
    """What is drawn for 4000 users of these weights."""
    rules = AdversarialConfig(**config)
    game = AdversarialTrainer(
        CfganGenerator(len(weights), rules), CfganCritic(len(weights), 2), rules
    )
    w = torch.tensor([weights], dtype=torch.float32).expand(4000, -1)
    torch.manual_seed(0)
    return game.roles(ProfileBatch((w > 0).float(), (w > 0).float(), w, w.mean(1)))


def test_the_critic_sees_the_history_and_the_set_share_of_the_rest():
    real, shown, zeros, counts = roles([1, 0, 1, 0], partial_masking=0.3, zero_reconstruction=0.6)
    assert (real == torch.tensor([1.0, 0.0, 1.0, 0.0])).all()
    assert (counts == 1).all()
    np.testing.assert_allclose(shown.mean(0), [1, 0.3, 1, 0.3], atol=0.03)
    np.testing.assert_allclose(zeros.mean(0), [0, 0.6, 0, 0.6], atol=0.03)


def test_an_entry_counts_by_its_weight():
    real, shown, zeros, counts = roles(
        [0.5, 2.0, 0.0], partial_masking=1.0, zero_reconstruction=1.0
    )
    np.testing.assert_allclose((real * counts[:, None]).mean(0), [0.5, 2.0, 0.0], atol=0.05)
    assert (shown[:, 0] == real[:, 0]).all(), "what was met is no zero, even where it is left out"
    assert zeros.mean(0).tolist() == [0, 0, 1]


def test_what_weighs_nothing_is_neither_real_nor_to_be_zero():
    rules = AdversarialConfig(partial_masking=1.0, zero_reconstruction=1.0)
    w, met = (
        torch.tensor([[1.0, 0.0, 0.0]]).expand(50, -1),
        torch.tensor([[1.0, 1.0, 0.0]]).expand(50, -1),
    )
    game = AdversarialTrainer(CfganGenerator(3, rules), CfganCritic(3, 2), rules)
    real, shown, zeros, _ = game.roles(ProfileBatch(met, met, w, w.mean(1)))
    assert [part.mean(0).tolist() for part in (real, shown, zeros)] == [
        [1, 0, 0],
        [1, 0, 1],
        [0, 0, 1],
    ]


def test_products_of_vectors_are_the_scores(fitted):
    histories = Histories.from_lists(pl.Series([["i00", "i08"], ["i01"]]), fitted.items)
    products = fitted.user_factors(histories) @ fitted.item_factors().T
    np.testing.assert_allclose(products, fitted.score(histories), rtol=1e-4, atol=1e-5)


def test_listed_items_and_their_row_of_the_catalogue_are_read_alike():
    torch.manual_seed(1)
    writer = CfganGenerator(N_ITEMS, AdversarialConfig(noise=8))
    items = torch.tensor([[7, 3, 39, -1], [12, -1, -1, -1], [0, 1, 2, 3]])
    row = torch.zeros(3, N_ITEMS + 1).scatter_(1, items.where(items >= 0, N_ITEMS), 1.0)[
        :, :N_ITEMS
    ]
    noise = torch.randn(3, 8)
    torch.testing.assert_close(writer.state_of(items, noise), writer.state(row, noise))


def test_several_generators_are_one_whose_logits_are_their_means():
    torch.manual_seed(1)
    config, x, noise = (
        AdversarialConfig(hidden=6, noise=3),
        (torch.rand(5, 9) < 0.5).float(),
        torch.randn(5, 3),
    )
    writers = [CfganGenerator(9, config) for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.start_at(np.full(9, 0.1 * (1 + number), np.float32))
    one = merged(writers, config)
    logits = torch.stack([writer.write(writer.state(x, noise)) for writer in writers])
    torch.testing.assert_close(one.write(one.state(x, noise)), logits.mean(0))
    for part, writer in zip(split(one, config, 3), writers, strict=True):
        torch.testing.assert_close(part.read.weight, writer.read.weight)
        torch.testing.assert_close(part.write.weight, writer.write.weight)
        assert part.write.weight.requires_grad and part.write.weight is not one.write.weight


def test_generators_learn_apart_and_the_first_of_several_is_no_copy_of_the_others():
    several = fit(generators=3, steps=30, eval_every=30)
    assert several.user_factors(
        Histories.from_lists(pl.Series([["i00"]]), several.items)
    ).shape == (
        1,
        3 * 32 + 1,
    )
    parts = split(several._network, several.config, 3)
    assert not torch.allclose(parts[0].read.weight, parts[1].read.weight, atol=0.01)
    again = find("cfgan")(QUICK | {"generators": 3, "steps": 30, "eval_every": 30}, seed=5).fit(
        TrainingData(tastes())
    )
    for name, array in several._model_state().items():
        assert np.array_equal(array, again._model_state()[name])
