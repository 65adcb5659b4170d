"""Negatives: how often each item is drawn, what the adversary learns, and that every sampled loss
can use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.nn.negatives import Drawn, Negatives, NegativesConfig, negatives
from augrec.nn.pairs import Pairs
from augrec.nn.softmax import full, sampled
from augrec.recommenders.base import find

CPU = torch.device("cpu")
SAMPLERS = ["uniform", "popularity", "in_batch", "adversarial"]
POPULARITY = np.array([8, 4, 4, 2, 1, 1], np.float32) / 20
N = len(POPULARITY)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # many small steps: more threads only wait for one another
    yield
    torch.set_num_threads(before)


def sampler(kind: str, width: int = 0, **options: Any) -> Negatives:
    torch.manual_seed(0)
    return negatives(NegativesConfig(negative_sampler=kind, **options), POPULARITY, CPU, width)


def everything_is_unmet(items: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(items, dtype=torch.bool)


def shares(items: torch.Tensor) -> np.ndarray:
    return np.bincount(items.flatten().numpy(), minlength=N) / items.numel()


def positives() -> torch.Tensor:
    """As popular as they are."""
    return torch.arange(N).repeat_interleave(torch.from_numpy(POPULARITY * 20).long()).view(4, 5)


@pytest.mark.parametrize(("kind", "power"), [("uniform", 0), ("popularity", 0.5), ("in_batch", 1)])
def test_items_are_drawn_by_the_power_of_popularity_that_is_asked_for(kind, power):
    drawing = sampler(kind, negative_exponent=0.5)
    expected = POPULARITY**power / (POPULARITY**power).sum()
    each = drawing.for_users(positives(), 3000, torch.zeros(4, 5, 2), everything_is_unmet)
    assert each.items.shape == (4, 3000), "a user's five positives share them"
    for drawn in (each, drawing.for_all(positives(), 60_000)):
        np.testing.assert_allclose(shares(drawn.items), expected, rtol=0.1)
        np.testing.assert_allclose(drawn.log_chances.exp(), expected[drawn.items], rtol=1e-4)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_what_is_said_of_the_chances_makes_sums_over_the_catalogue_come_out(kind):
    """The mean over draws of value / chance is the sum of the values, whoever draws."""
    drawing = sampler(kind, negative_candidates=8)
    if kind == "adversarial":
        with torch.no_grad():
            drawing._bias.copy_(torch.tensor([0.0, 2.0, -1.0, 1.0, 0.0, -2.0]))
    values = torch.tensor([1.0, 5.0, 2.0, 0.5, 3.0, 8.0])
    drawn = drawing.for_all(positives(), 100_000)
    estimate = (values[drawn.items] / drawn.log_chances.exp()).mean().item()
    assert estimate == pytest.approx(values.sum().item(), rel=0.03)


def play(drawing: Negatives, pushes: torch.Tensor, rounds: int = 200) -> Drawn:
    """A recommender whose loss grows by `pushes` with the score of each item, (2 tastes,
    n_items)."""
    users = torch.eye(2).repeat(8, 1)[:, None]  # users of either taste in turn, (16, 1, 2)
    taste = torch.arange(16) % 2
    for _ in range(rounds):
        drawn = drawing.for_users(
            torch.zeros(16, 1, dtype=torch.long), 8, users, everything_is_unmet
        )
        (drawn.nudge * pushes[taste[:, None], drawn.items]).sum().backward()
        drawing.learn(drawn)
    return drawing.for_users(torch.zeros(16, 1, dtype=torch.long), 500, users, everything_is_unmet)


def test_the_adversary_finds_what_is_hard_for_whom():
    pushes = torch.full((2, N), 0.05)
    pushes[0, 5] = pushes[1, 3] = 1.0
    options = {"negative_exponent": 0.0, "negative_candidates": 16, "negative_learning_rate": 0.05}
    drawn = play(sampler("adversarial", width=2, **options), pushes)
    first, second = shares(drawn.items[::2]), shares(drawn.items[1::2])
    assert first.argmax() == 5 and second.argmax() == 3
    assert min(first[5], second[3]) > 0.5, "an even draw gives 0.17"
    assert max(first[3], second[5]) < 0.2


def test_the_adversary_settles_where_chances_are_in_proportion_to_what_the_draws_do():
    pushes = torch.tensor([0.1, 0.1, 0.2, 0.4, 0.8, 0.1]).expand(2, N)
    options = {"negative_exponent": 0.0, "negative_candidates": 64, "negative_learning_rate": 0.02}
    drawn = play(sampler("adversarial", width=2, **options), pushes, rounds=400)
    np.testing.assert_allclose(shares(drawn.items), pushes[0] / pushes[0].sum(), atol=0.06)


def test_hardness_zero_leaves_the_candidates_as_they_come():
    pushes = torch.tensor([0.01, 0.01, 0.01, 0.01, 0.01, 1.0]).expand(2, N)
    options = {"negative_exponent": 0.0, "negative_hardness": 0.0, "negative_learning_rate": 0.02}
    drawn = play(sampler("adversarial", width=2, **options), pushes)
    np.testing.assert_allclose(shares(drawn.items), np.full(N, 1 / N), atol=0.06)


def test_the_adversary_never_draws_items_of_the_users_history():
    def unmet(items: torch.Tensor) -> torch.Tensor:
        return items > 1

    drawing = sampler("adversarial", width=2, negative_candidates=12)
    with torch.no_grad():
        drawing._bias[:2] = 20.0
    drawn = drawing.for_users(
        torch.zeros(500, 2, dtype=torch.long), 2, torch.zeros(500, 2, 2), unmet
    )
    assert (drawn.items <= 1).double().mean() < 0.01, "only where all twelve candidates were met"
    assert drawn.items.unique().tolist()[-4:] == [2, 3, 4, 5]


def test_draws_that_the_loss_leaves_out_teach_the_adversary_nothing():
    drawing = sampler("adversarial", width=2)
    before = drawing._bias.clone()
    drawn = drawing.for_users(positives(), 3, torch.ones(4, 5, 2), everything_is_unmet)
    (drawn.nudge * 0).sum().backward()
    drawing.learn(drawn)
    assert torch.equal(drawing._bias, before)


def test_the_sampled_softmax_comes_close_to_the_full_one_with_an_adversary_too():
    torch.manual_seed(1)
    states, items = torch.randn(30, 4), torch.randn(N, 4)
    given = states, items, torch.randn(N), torch.randint(N, (30,)), torch.rand(30)
    drawing = sampler("adversarial", negative_learning_rate=0.05)
    for _ in range(200):
        drawn = drawing.for_all(given[3], 64)
        sampled(*given, drawn).backward()
        drawing.learn(drawn)
    assert drawing._bias.std() > 0.1, "it has learnt something"
    part = sampled(*given, drawing.for_all(given[3], 40_000))
    torch.testing.assert_close(part, full(*given), rtol=0.02, atol=0.0)


def test_negatives_of_the_batch_are_its_other_positives_and_none_of_the_users_own_count():
    table = pl.DataFrame({"user_id": ["a", "a", "b", "b"], "item_id": ["p", "q", "q", "r"]})
    known = Histories.from_interactions(table, ItemIndex(table["item_id"]))
    torch.manual_seed(0)
    pairs = Pairs(known, CPU)
    batch = pairs.draw(50, 2)
    drawing = negatives(NegativesConfig(negative_sampler="in_batch"), np.ones(3, np.float32), CPU)
    drawn = drawing.for_users(batch.positives, 4, torch.zeros(50, 2, 1), everything_is_unmet)
    real = pairs.unmet(batch.users, drawn.items)
    assert drawn.items.unique().tolist() == [0, 1, 2]
    for user, only in ((0, 2), (1, 0)):
        assert drawn.items[batch.users == user][real[batch.users == user]].unique().tolist() == [
            only
        ]


def shop(n_users: int = 80, n_items: int = 24) -> pl.DataFrame:
    """Two tastes, each with half of the catalogue, in order."""
    random = np.random.default_rng(4)
    rows = [
        (f"u{user:02}", f"i{2 * item + user % 2:02}", "view", None, minute, "real", 1.0)
        for user in range(n_users)
        for minute, item in enumerate(random.choice(n_items // 2, 6, replace=False))
    ]
    names = ["user_id", "item_id", "event", "value", "timestamp", "origin", "weight"]
    kinds = {"value": pl.Float32, "weight": pl.Float32}
    table = pl.DataFrame(rows, schema=names, orient="row", schema_overrides=kinds)
    return table.with_columns(pl.from_epoch("timestamp").dt.replace_time_zone("UTC"))


LEARNERS: dict[str, dict[str, Any]] = {
    "bpr": {
        "factors": 8,
        "batch_size": 32,
        "positives": 4,
        "negatives": 2,
        "steps": 60,
        "weight_decay": 0.1,
    },
    "mmoe": {
        "factors": 8,
        "experts": 2,
        "hidden": 8,
        "batch_size": 32,
        "negatives": 16,
        "steps": 80,
        "positives": 4,
        "learning_rate": 0.02,
        "dropout": 0.0,
    },
    "sasrec": {
        "factors": 8,
        "batch_size": 32,
        "negatives": 16,
        "loss": "sampled",
        "steps": 80,
        "learning_rate": 0.02,
        "dropout": 0.0,
    },
    "gru4rec": {
        "factors": 8,
        "hidden": 16,
        "batch_size": 32,
        "negatives": 16,
        "loss": "sampled",
        "steps": 200,
        "learning_rate": 0.03,
        "dropout": 0.0,
        "average": 0.9,
    },
}


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_every_recommender_that_draws_negatives_learns_tastes_with_each_sampler(name, kind):
    fitted = find(name)(LEARNERS[name] | {"negative_sampler": kind}, seed=2).fit(
        TrainingData(shop())
    )
    histories = pl.Series([["i00", "i04", "i08"], ["i01", "i05", "i09"]])
    items, _ = fitted.recommend(histories, 8)
    own = np.array(
        [[int(item[1:]) % 2 == taste for item in row] for taste, row in enumerate(items)]
    )
    assert own.mean() >= 0.85, "half of the catalogue is of either taste"


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_with_an_adversary_too_the_same_seed_gives_the_same_model(name):
    first, second = (
        find(name)(LEARNERS[name] | {"negative_sampler": "adversarial", "steps": 10}, seed=2).fit(
            TrainingData(shop())
        )
        for _ in range(2)
    )
    for key, value in first._model_state().items():
        np.testing.assert_array_equal(value, second._model_state()[key])
