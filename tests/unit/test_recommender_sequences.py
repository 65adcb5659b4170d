"""SASRec and GRU4Rec: windows, losses, order, weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from augrec.core.errors import ConfigError, InputError, RefusedError
from augrec.data.columns import TIME
from augrec.data.histories import Histories, ItemIndex
from augrec.data.training_data import TrainingData
from augrec.nn.averages import move_average
from augrec.nn.negatives import Negatives
from augrec.nn.sequence_network import dropout
from augrec.nn.sequences import Sequences, Windows, distinct, latest
from augrec.nn.softmax import full, sampled
from augrec.recommenders.base import Recommender, find

SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"factors": 16, "blocks": 1, "max_length": 8},
    "gru4rec": {"factors": 16, "hidden": 16, "max_length": 8},
}
TRAINING = {
    "batch_size": 32,
    "steps": 60,
    "eval_every": 60,
    "learning_rate": 0.02,
    "dropout": 0.0,
    "ahead": 1,
}
N_ITEMS = 12
CPU = torch.device("cpu")


@pytest.fixture(params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(name: str, **config: Any) -> Recommender:
    return find(name)(SMALL[name] | TRAINING | config, seed=3)


def table(lists: list[list[int]], **columns: list[list[Any]]) -> pl.DataFrame:
    """A user for each list of items, an item a second."""
    users = [f"u{user:03}" for user, items in enumerate(lists) for _ in items]
    flat = {
        name: [value for values in nested for value in values] for name, nested in columns.items()
    }
    return pl.DataFrame(
        {
            "user_id": users,
            "item_id": [f"i{item:02}" for items in lists for item in items],
            "timestamp": pl.Series(np.arange(len(users)) * 1_000_000, dtype=pl.Datetime("us")).cast(
                TIME
            ),
            **flat,
        }
    )


def encoded(lists: list[list[int]], **columns: list[list[Any]]) -> Histories:
    return Histories.from_interactions(
        table(lists, **columns), ItemIndex([f"i{i:02}" for i in range(100)])
    )


def circle(n_users: int = 60, length: int = 6) -> list[list[int]]:
    """Each item is followed by the next on a circle; where a user begins is the only difference."""
    return [[(user + step) % N_ITEMS for step in range(length)] for user in range(n_users)]


@pytest.fixture(scope="module", params=SMALL)
def circling(request: pytest.FixtureRequest) -> Recommender:
    return build(request.param).fit(TrainingData(table(circle())))


def histories(*lists: list[int]) -> pl.Series:
    return pl.Series(
        [[f"i{item:02}" for item in items] for items in lists], dtype=pl.List(pl.String)
    )


def first(fitted: Recommender, *lists: list[int]) -> list[str]:
    return fitted.recommend(histories(*lists), 1)[0][:, 0].tolist()


def scores(fitted: Recommender, *lists: list[int]) -> np.ndarray:
    return fitted.score(Histories.from_lists(histories(*lists), fitted.items))


def pairs(windows: Windows, ahead: int = 1) -> set[tuple[tuple[int, ...], int]]:
    """What each target of one round over all windows is predicted from."""
    found = set()
    for batch in windows.draw(3, -(-len(windows) // 3), ahead):
        items, firsts = batch.windows.items.tolist(), batch.windows.firsts
        for place, target in zip(batch.states.tolist(), batch.targets.tolist(), strict=True):
            begin = int(firsts[firsts <= place].max())
            found.add((tuple(items[begin + 1 : place + 1]), target))
    return found


def test_what_comes_next_is_learnt_where_popularity_knows_nothing(circling):
    asked = [[(start + step) % N_ITEMS for step in range(3)] for start in range(N_ITEMS)]
    expected = [f"i{(start + 3) % N_ITEMS:02}" for start in range(N_ITEMS)]
    by_popularity = first(find("popularity")().fit(TrainingData(table(circle()))), *asked)
    assert first(circling, *asked) == expected
    assert sum(a == b for a, b in zip(by_popularity, expected, strict=True)) < N_ITEMS / 2


def test_the_same_items_in_another_order_are_another_history(circling):
    forward, backward = scores(circling, [3, 4, 5], [5, 4, 3])
    assert forward[6] - backward[6] > 1


def test_an_item_in_a_history_twice_counts_where_it_is_last(circling):
    np.testing.assert_array_equal(*scores(circling, [4, 3, 4, 5], [3, 4, 5]))


def test_later_items_do_not_change_earlier_states(circling):
    network, lengths = circling._network, torch.tensor([5, 4])
    states = [
        network(Sequences(torch.tensor([0, 1, 2, 3, last, 0, 5, 6, 7]), lengths)).detach()
        for last in (4, 9)
    ]
    same = torch.tensor([True] * 4 + [False] + [True] * 4)
    torch.testing.assert_close(states[0][same], states[1][same], rtol=1e-6, atol=1e-6)
    assert (states[0][4] - states[1][4]).abs().max() > 0.01


def test_scores_are_log_probabilities(circling):
    np.testing.assert_allclose(np.exp(scores(circling, [1], [2, 3, 4])).sum(1), 1, rtol=1e-5)


def test_every_entry_is_predicted_once_from_the_inputs_before_it():
    windows = Windows(encoded([[1, 2, 3], [7]]), 8, CPU)
    assert pairs(windows) == {((), 1), ((1,), 2), ((1, 2), 3), ((), 7)}


def test_targets_only_are_never_read():
    hidden = encoded([[1, 2, 3, 4]], observed=[[True, False, True, False]])
    assert pairs(Windows(hidden, 8, CPU)) == {((), 1), ((1,), 2), ((1,), 3), ((1, 3), 4)}


def test_a_user_with_targets_only_is_predicted_from_nothing():
    hidden = encoded([[1, 2]], observed=[[False, False]])
    assert pairs(Windows(hidden, 8, CPU)) == {((), 1), ((), 2)}


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_long_histories_are_cut_into_windows_that_predict_every_entry_once(length):
    n = 41
    windows = Windows(encoded([list(range(n)), [50]]), length, CPU)
    found = sorted((target, context) for context, target in pairs(windows))
    assert [target for target, _ in found] == [*range(n), 50]
    for target, context in found[:-1]:
        assert context == tuple(range(target - len(context), target))
        assert min(target, -(-length // 2)) <= len(context) <= length
    assert windows.weight * len(windows) == n + 1


def test_ahead_predicts_from_earlier_states_but_not_from_nothing():
    windows = Windows(encoded([list(range(10))]), 20, CPU)
    torch.manual_seed(0)
    found = set().union(*(pairs(windows, ahead=3) for _ in range(60)))
    expected = {(tuple(range(t - back)), t) for t in range(1, 10) for back in range(min(3, t))}
    assert found == expected | {((), 0)}


def test_an_item_in_a_history_twice_keeps_its_largest_weight():
    once = distinct(
        encoded(
            [[5, 6, 5], [7]],
            weight=[[3.0, 1.0, 2.0], [1.0]],
            observed=[[True, True, False], [True]],
        )
    )
    assert once.items.tolist() == [6, 5, 7]
    assert once.weights.tolist() == [1, 3, 1]
    assert once.observed.tolist() == [True, True, True]
    assert once.lengths.tolist() == [2, 1]


def test_only_the_latest_items_are_read():
    sequences = latest(encoded([list(range(9)), [3]]), 4, CPU)
    assert sequences.items.tolist() == [0, 5, 6, 7, 8, 0, 3]
    assert sequences.lengths.tolist() == [5, 2]


def test_padding_and_back_changes_nothing():
    sequences = Sequences(torch.zeros(6, dtype=torch.int64), torch.tensor([1, 3, 2]))
    vectors = torch.arange(12.0).view(6, 2)
    table = sequences.pad(vectors)
    assert table.shape == (3, 3, 2)
    assert table[0, 1:].abs().sum() == 0
    assert torch.equal(sequences.unpad(table), vectors)


def softmax_problem() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    states, items, bias = torch.randn(30, 4), torch.randn(50, 4), torch.randn(50)
    return (
        *(x.requires_grad_() for x in (states, items, bias)),
        torch.randint(50, (30,)),
        torch.rand(30),
    )


def test_the_full_loss_and_its_gradients_are_those_of_cross_entropy(monkeypatch):
    monkeypatch.setattr("augrec.nn.softmax._CELLS", 350)  # seven rows at a time
    given = softmax_problem()
    states, items, bias, targets, weights = given
    ours = full(*given)
    plain = (F.cross_entropy(states @ items.T + bias, targets, reduction="none") * weights).sum()
    torch.testing.assert_close(ours, plain)
    for mine, theirs in zip(
        torch.autograd.grad(2 * ours, given[:3]),
        torch.autograd.grad(2 * plain, given[:3]),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_sampled_loss_comes_close_to_the_full_one():
    given = softmax_problem()
    torch.manual_seed(2)
    drawn = Negatives(np.arange(1.0, 51.0) ** 0.75, CPU).for_all(given[3], 40_000)
    whole, part = full(*given), sampled(*given, drawn)
    torch.testing.assert_close(part, whole, rtol=0.01, atol=0.0)
    one, other = torch.autograd.grad(part, given[:3]), torch.autograd.grad(whole, given[:3])
    for estimate, exact in zip(one, other, strict=True):
        assert F.cosine_similarity(estimate.flatten(), exact.flatten(), dim=0) > 0.99


def test_a_sampled_loss_learns_the_order_too(name):
    fitted = build(name, loss="sampled", negatives=8).fit(TrainingData(table(circle())))
    assert first(fitted, [3, 4, 5], [10, 11]) == ["i06", "i00"]


def test_a_large_catalogue_is_sampled_by_default(name):
    small = build(name, max_full_items=N_ITEMS - 1, negatives=8).fit(TrainingData(table(circle())))
    told = build(name, loss="sampled", negatives=8).fit(TrainingData(table(circle())))
    np.testing.assert_array_equal(scores(small, [3, 4]), scores(told, [3, 4]))


def test_weights_weigh_what_is_predicted(name):
    lists = [[0, 1]] * 30 + [[0, 2]] * 30
    for heavy, expected in ((1, "i01"), (2, "i02")):
        weights = [[1.0, 5.0 if items[1] == heavy else 1.0] for items in lists]
        assert first(build(name).fit(TrainingData(table(lists, weight=weights))), [0]) == [expected]


def test_the_probabilities_learnt_follow_the_weights(name):
    lists = [[0, 1]] * 30 + [[0, 2]] * 30
    weights = [[1.0, 4.0 if items[1] == 1 else 1.0] for items in lists]
    given = scores(build(name, steps=150).fit(TrainingData(table(lists, weight=weights))), [0])[0]
    assert np.exp(given[1] - given[2]) == pytest.approx(4.0, rel=0.2)


def test_histories_of_one_item_and_much_longer_ones_are_learnt_from_together(name):
    long = [(7 * step) % 97 for step in range(60)]
    fitted = build(name).fit(TrainingData(table([[1], [2], long, long[::-1]])))
    assert np.isfinite(scores(fitted, long, [1], [])).all()
    np.testing.assert_allclose(*scores(fitted, long, long[-8:]), rtol=1e-5)


def test_the_item_that_a_recommendation_follows_from_explains_it(circling):
    why = circling.explain(histories([9, 3, 4, 5]), np.array([["i06"]]))
    assert why["because"][0] == "i05"


def test_training_goes_on_at_the_weights_of_a_fitted_one(circling):
    shifted = table(
        [[item + 1 for item in items] for items in circle()]
    )  # one item is new, one is gone
    asked, expected = ([3, 4, 5], [6, 7], [1, 2], [8, 9]), ["i06", "i08", "i03", "i10"]
    briefly = {"steps": 1, "learning_rate": 1e-9}
    assert (
        first(
            build(circling.name(), **briefly).fit(TrainingData(shifted, previous=circling)), *asked
        )
        == expected
    )
    assert first(build(circling.name(), **briefly).fit(TrainingData(shifted)), *asked) != expected
    with pytest.raises(InputError, match="cannot start from"):
        build(circling.name(), factors=8).fit(TrainingData(shifted, previous=circling))


def test_the_weights_kept_follow_those_in_training(name):
    fitted = build(name, steps=1).fit(TrainingData(table(circle())))
    before = [weights.clone() for weights in fitted._network.parameters()]
    ahead = copy.deepcopy(fitted._network)
    with torch.no_grad():
        for weights in ahead.parameters():
            weights += 1
    move_average(fitted._network, ahead, 0.25)
    for weights, old in zip(fitted._network.parameters(), before, strict=True):
        torch.testing.assert_close(weights.detach(), old.detach() + 0.25)


def test_a_broken_training_is_refused(name):
    with pytest.raises(RefusedError, match="not a number"):
        build(name, learning_rate=1e30).fit(TrainingData(table(circle())))


def test_dropout_hides_the_set_share_and_keeps_the_mean():
    torch.manual_seed(0)
    kept = dropout(torch.ones(301, 333), 0.3)
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert kept.mean().item() == pytest.approx(1, abs=0.01)


def test_heads_that_do_not_divide_the_factors_are_refused():
    with pytest.raises(ConfigError, match="3 heads"):
        find("sasrec")({"factors": 16, "heads": 3})
