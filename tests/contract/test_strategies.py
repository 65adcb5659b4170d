"""What every strategy for groups promises. A new strategy is picked up by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augrec.core import component
from augrec.core.errors import ConfigError, InputError
from augrec.groups.base import STRATEGIES, Strategy, find, names
from augrec.groups.choices import Choices
from augrec.groups.held_out import others
from augrec.groups.scores import GroupScores, satisfaction

N_ITEMS = 30


def group_of(m: int, seed: int = 0) -> GroupScores:
    draw = np.random.default_rng(seed)
    scores = GroupScores.of_members(draw.normal(size=(m, N_ITEMS)))
    shares = draw.dirichlet(np.ones(N_ITEMS)).astype(np.float32)
    return replace(scores, popularity=shares, activity=draw.integers(1, 50, m))


def choices() -> Choices:
    """Forty groups, each of which takes what its members like best on average."""
    groups = [group_of(2 + row % 3, seed=row) for row in range(40)]
    chosen = np.array([int(one.relevance().mean(axis=0).argmax()) for one in groups])
    return Choices(groups, np.arange(40), chosen, others(chosen, N_ITEMS, 20, seed=0))


@pytest.fixture(params=names())
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return find(request.param)(seed=1).fit(choices())


@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_a_list_has_k_different_allowed_items_best_first(strategy: Strategy, m: int) -> None:
    group = group_of(m)
    allowed = np.arange(N_ITEMS) % 3 != 0
    items, scores = strategy.choose(replace(group, allowed=allowed), 8)
    assert len(set(items.tolist())) == len(items) == len(scores) == 8
    assert allowed[items].all()
    assert np.isfinite(scores).all() and (np.diff(scores) <= 0).all()


def test_fewer_allowed_items_give_a_shorter_list(strategy: Strategy) -> None:
    group = replace(group_of(3), allowed=np.arange(N_ITEMS) < 4)
    assert sorted(strategy.choose(group, 10)[0].tolist()) == [0, 1, 2, 3]
    nothing = replace(group, allowed=np.zeros(N_ITEMS, bool))
    assert strategy.choose(nothing, 10)[0].tolist() == []


def test_an_empty_list_is_refused(strategy: Strategy) -> None:
    with pytest.raises(InputError, match="at least one"):
        strategy.choose(group_of(2), 0)


def test_the_order_of_members_does_not_matter(strategy: Strategy) -> None:
    group = group_of(4)
    turned = replace(group, members=group.members[::-1], activity=group.activity[::-1])
    assert strategy.choose(group, 10)[0].tolist() == strategy.choose(turned, 10)[0].tolist()


def test_members_of_one_taste_get_their_own_list(strategy: Strategy) -> None:
    alone = group_of(1)
    same = replace(
        alone, members=np.repeat(alone.members, 4, axis=0), activity=np.repeat(alone.activity, 4)
    )
    assert strategy.choose(alone, 5)[0].tolist() == strategy.choose(same, 5)[0].tolist()


def test_scores_of_another_scale_are_the_same_group(strategy: Strategy) -> None:
    group = group_of(3)
    scale = np.array([[1.0], [100.0], [0.01]], np.float32)
    other = replace(group, members=(group.members * scale + 7).astype(np.float32))
    ours, theirs = strategy.choose(group, 5)[0], strategy.choose(other, 5)[0]
    assert ours.tolist() == theirs.tolist()


def test_the_secret_item_of_all_members_is_found(strategy: Strategy) -> None:
    """Each member likes one item that nobody else would guess, and all like the same."""
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(4, N_ITEMS)).astype(np.float32)
    scores[:, 17] = scores.max() + 1
    group = replace(group_of(4), members=scores, own=scores.mean(axis=0))
    assert strategy.choose(group, 1)[0].tolist() == [17]


def test_a_saved_strategy_gives_the_same_list(strategy: Strategy, tmp_path: Path) -> None:
    strategy.save(tmp_path / "strategy")
    again = component.load(STRATEGIES, tmp_path / "strategy", Strategy)
    ours, theirs = strategy.choose(group_of(3), 9), again.choose(group_of(3), 9)
    assert ours[0].tolist() == theirs[0].tolist()
    assert ours[1].tolist() == theirs[1].tolist()


def test_the_worst_member_does_not_gain_by_dropping_a_members_ratings(strategy: Strategy) -> None:
    """Over many groups the member whom a list serves least, of all members, is served no better by
    a list that passes a member over."""
    with_all, without = [], []
    for seed in range(120):
        group = group_of(3, seed=1000 + seed)
        group = replace(group, own=group.relevance().mean(axis=0))
        fewer = replace(group, members=group.members[1:], activity=group.activity[1:])
        fewer = replace(fewer, own=fewer.relevance().mean(axis=0))
        for lists, one in ((with_all, group), (without, fewer)):
            chosen = strategy.choose(one, 5)[0]
            lists.append(satisfaction(group.relevance(), chosen).min())
    assert np.mean(with_all) > np.mean(without)


def test_unknown_strategies_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no strategy called"):
        find("loudest")
    with pytest.raises(ConfigError, match="no key"):
        find("average")({"weight": 2})


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        GroupScores.of_members(np.array([[1.0, np.nan]]))
    with pytest.raises(InputError, match="members"):
        GroupScores.of_members(np.zeros((0, 3)))
