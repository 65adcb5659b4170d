"""People who decide together: lists by hand, metrics, placebos and the gate."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.data.training_data import TrainingData
from augrec.evaluation.group_gate import by_group, judge
from augrec.evaluation.group_metrics import choice_metrics, member_metrics, mid_ranks
from augrec.groups.base import find
from augrec.groups.choices import Choices
from augrec.groups.held_out import hold_out, others
from augrec.groups.placebos import shuffled, strangers
from augrec.groups.scores import GroupScores, satisfaction, score_group
from augrec.recommenders.base import find as find_recommender

# items      a    b    c    d    e
MEMBERS = [
    [1.0, 0.9, 0.5, 0.1, 0.0],
    [0.0, 0.2, 0.6, 0.7, 1.0],
    [1.0, 0.4, 0.6, 0.3, 0.0],
]
BY_HAND = {
    "average": "acbde",  # 2, 1.7, 1.5, 1.1, 1
    "least_misery": "cbdae",  # .5, .2, .1, 0, 0
    "most_pleasure": "aebdc",  # 1, 1, .9, .7, .6
    "average_without_misery": "cbade",  # d, a and e fall below .2 with someone
    "borda": "acbde",  # 8, 7.5 …: see below
    "multiplicative": "cbdae",  # .18, .072, .021, and 0
}


@pytest.mark.parametrize(("name", "expected"), BY_HAND.items())
def test_lists_by_hand(name: str, expected: str) -> None:
    items, _ = find(name)().choose(GroupScores.of_members(np.array(MEMBERS)), 5)
    assert "".join("abcde"[place] for place in items) == expected


def test_borda_shares_the_points_of_ties() -> None:
    group = GroupScores.of_members(np.array([[2.0, 2.0, 1.0], [0.0, 1.0, 2.0]]))
    # points 1.5, 1.5, 0 and 0, 1, 2; at most 2 for each member
    assert find("borda")().scores(group).tolist() == pytest.approx([0.375, 0.625, 0.5])


def test_lists_that_look_at_the_whole_by_hand() -> None:
    """Two like a and b, one likes c."""
    group = GroupScores.of_members(np.array([[9, 8, 0, 1], [9, 8, 0, 1], [0, 1, 9, 0.0]]))
    assert find("average")().choose(group, 2)[0].tolist() == [0, 1]
    # b closes .63 + .63 + .11 of an equal share, a .67 + .67; then the third member lacks most
    assert find("ep_fuzzda")().choose(group, 2)[0].tolist() == [1, 2]
    # chances .4 .3 .1 .2 twice and .11 .33 .44 .11: b has .93, a .91; then a .63, c .44; then c
    assert find("gfar")().choose(group, 4)[0].tolist() == [1, 0, 2, 3]


def test_the_own_row_takes_members_in_by_weight() -> None:
    group = replace(
        GroupScores.of_members(np.array(MEMBERS)), own=np.array([0, 1, 0, 0, 0.0], np.float32)
    )
    assert find("own_row")().choose(group, 1)[0].tolist() == [1]
    assert find("own_row")({"members": 100.0}).choose(group, 1)[0].tolist() == [0]


def test_satisfaction_is_the_share_of_ones_own_best_list() -> None:
    relevance = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    content = satisfaction(relevance, np.array([0, 1]))
    worse = (0.5 / np.log2(3)) / (1 + 0.5 / np.log2(3))
    assert content.tolist() == pytest.approx([1.0, worse, 1.0])
    assert satisfaction(relevance, np.zeros(0, int)).tolist() == [0, 0, 0]


def test_attention_learns_who_decides() -> None:
    """Groups in which the most active member decides, and groups in which the pickiest does."""
    draw = np.random.default_rng(0)
    groups, by_active, by_least = [], [], []
    for _ in range(300):
        one = GroupScores.of_members(draw.normal(size=(3, 40)))
        groups.append(replace(one, activity=draw.permutation([5, 50, 500])))
        by_active.append(int(one.members[groups[-1].activity.argmax()].argmax()))
        by_least.append(int(one.members.min(axis=0).argmax()))
    for chosen in (np.array(by_active), np.array(by_least)):
        learned = find("attention")().fit(
            Choices(groups[:200], np.arange(200), chosen[:200], others(chosen[:200], 40, 30, 0))
        )

        def hits(strategy, chosen=chosen):
            found = [strategy.choose(group, 1)[0][0] for group in groups[200:]]
            return np.mean(np.array(found) == chosen[200:])

        assert hits(learned) > 0.6
        assert hits(learned) > hits(find("average")()) + 0.1


def test_ties_are_ranked_at_their_middle() -> None:
    constant = mid_ranks(np.zeros(2), np.zeros((2, 100)))
    assert constant.tolist() == [51, 51]
    assert choice_metrics(constant)["hit_rate@10"].tolist() == [0, 0]
    ranks = mid_ranks(np.array([3.0, 1.0]), np.array([[1, 2, 4.0], [1, 0, -np.inf]]))
    assert ranks.tolist() == [2, 1.5]
    assert choice_metrics(ranks, (5,))["ndcg@5"].tolist() == pytest.approx(
        [1 / np.log2(3), 1 / np.log2(2.5)]
    )


def test_members_are_judged_by_their_own_items() -> None:
    found = member_metrics([np.array([3, 1])], [[np.array([3]), np.array([7])]])
    assert (found.mean[0], found.worst[0], found.spread[0]) == (0.5, 0.0, 0.5)


def test_what_a_group_chose_leaves_its_members_histories() -> None:
    rows = pl.DataFrame({"group_id": ["g"] * 3, "item_id": ["a", "b", "c"], "timestamp": [3, 1, 2]})
    members = pl.DataFrame({"group_id": ["g", "g"], "user_id": ["u", "v"]})
    real = pl.DataFrame({"user_id": ["u", "u", "v", "w"], "item_id": ["a", "b", "b", "a"]})
    held = hold_out(rows, members, real, 1, seed=0)
    assert held.choices["item_id"].to_list() == ["a"]  # the newest
    assert sorted(held.known["item_id"].to_list()) == ["b", "c"]
    assert held.interactions.rows() == [("u", "b"), ("v", "b"), ("w", "a")]
    alone = hold_out(rows[:1], members, real, 5, seed=0)
    assert len(alone.known) == 1  # a group keeps a row


def test_placebos_keep_sizes() -> None:
    groups = {f"g{row}": [f"u{row}-{place}" for place in range(2 + row % 3)] for row in range(30)}
    everyone = sorted(user for members in groups.values() for user in members)
    for placebo in (shuffled(groups, 0), strangers(groups, everyone, 0)):
        assert list(placebo) == list(groups)
        assert all(len(set(placebo[name])) == len(groups[name]) for name in groups)
        assert placebo != groups
    assert sorted(user for one in shuffled(groups, 0).values() for user in one) == everyone
    with pytest.raises(InputError, match="more members"):
        strangers({"g": ["a", "b"]}, ["a"], 0)


def test_shuffled_members_do_not_win() -> None:
    """Of 100 comparisons of a strategy with itself on other draws, at most the nominal rate is
    promoted; a planted lead always is."""
    draw = np.random.default_rng(1)
    promoted = 0
    for seed in range(100):
        own, shuffled_ones, without = draw.random((3, 60))
        controls = {"without_groups": without, "shuffled": shuffled_ones}
        promoted += judge(own, controls, samples=400, seed=seed).promoted
        assert judge(own + 0.9, controls, samples=400, seed=seed).promoted
    assert promoted <= 5
    with pytest.raises(InputError, match="controls"):
        judge(draw.random(5), {})
    assert by_group(np.array([1.0, 0.0, 4.0]), np.array([7, 7, 9])).tolist() == [0.5, 4.0]


def test_a_group_is_scored_by_members_and_own_row() -> None:
    """Two tastes: of even and of odd items."""
    draw = np.random.default_rng(0)
    pairs = [
        (f"u{user:02}", f"i{2 * item + user % 2:02}")
        for user in range(40)
        for item in draw.permutation(10)[:6]
    ]
    table = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    recommender = find_recommender("ease")().fit(TrainingData(table))
    group = score_group(recommender, [["i00", "i02"], ["i04", "nothing known"]], ["i00"])
    assert group.members.shape == (2, 20) and group.activity.tolist() == [2, 1]
    assert group.taken[0] == 1 and group.met[:6].tolist() == [1, 0, 1, 0, 1, 0]
    items, _ = find("average")().choose(group, 5)
    assert all(int(place) % 2 == 0 for place in items)
    assert not {0, 2, 4} & set(items.tolist())  # met by a member
    items, _ = find("own_row")().choose(group, 5)
    assert all(int(place) % 2 == 0 for place in items)
    with pytest.raises(InputError, match="without members"):
        score_group(recommender, [])
